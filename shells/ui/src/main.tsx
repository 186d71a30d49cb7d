// Where the page begins.

import { render } from "preact";
import { readSettings, writeSettings } from "./shell/settings";
import "./style/index.css";
import { Page } from "./view/page";

writeSettings(readSettings());
const place = document.getElementById("page");
if (place) render(<Page />, place);
