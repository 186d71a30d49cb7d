// Says that the server is away, and that the page comes back by itself.

import type { Failure } from "../core/machine";
import { Icon } from "./icon";

export function Banner({ down, failure, retry }: { down: boolean; failure: Failure | undefined; retry: () => void }) {
  return (
    <div role="status" class={down ? "banner" : "banner is-hidden"}>
      {down && (
        <>
          <Icon name="warning" />
          <span>
            <strong>Disconnected:</strong> {failure?.detail ?? "the server can't be reached"}. Trying again; nothing is
            lost.
          </span>
          <button type="button" class="quiet" onClick={retry}>
            Try now
          </button>
        </>
      )}
    </div>
  );
}
