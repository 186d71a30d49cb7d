// A component that is drawn anew only if one of its props is another one.

import { Component } from "preact";

export abstract class Still<Props extends object> extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    const last = this.props;
    return (Object.keys(next) as (keyof Props)[]).some((name) => next[name] !== last[name]);
  }
}
