// Icons, drawn by the page itself: no font and no file. An icon never stands alone for a meaning; words say it too.

import {
  ArrowDown,
  Braces,
  Check,
  ChevronDown,
  ChevronRight,
  ChevronUp,
  CircleDashed,
  CircleHelp,
  Clock,
  Copy,
  Download,
  type IconNode,
  Link,
  LoaderCircle,
  Moon,
  Palette,
  Pencil,
  Play,
  Plus,
  RotateCcw,
  RotateCw,
  Search,
  Square,
  Sun,
  SunMoon,
  TriangleAlert,
  WrapText,
  X,
} from "lucide";
import { h } from "preact";

const ICONS = {
  down: ArrowDown,
  braces: Braces,
  check: Check,
  "chevron-down": ChevronDown,
  "chevron-right": ChevronRight,
  "chevron-up": ChevronUp,
  queued: CircleDashed,
  help: CircleHelp,
  clock: Clock,
  copy: Copy,
  download: Download,
  link: Link,
  running: LoaderCircle,
  moon: Moon,
  palette: Palette,
  edit: Pencil,
  play: Play,
  plus: Plus,
  again: RotateCcw,
  retrying: RotateCw,
  search: Search,
  stop: Square,
  sun: Sun,
  auto: SunMoon,
  warning: TriangleAlert,
  wrap: WrapText,
  x: X,
} satisfies Record<string, IconNode>;

export type IconName = keyof typeof ICONS;

export function Icon({ name, turns = false }: { name: IconName; turns?: boolean }) {
  const nodes: IconNode = ICONS[name];
  return (
    <svg class={turns ? "icon turns" : "icon"} viewBox="0 0 24 24" aria-hidden="true">
      {nodes.map(([tag, attributes]) => h(tag, attributes))}
    </svg>
  );
}
