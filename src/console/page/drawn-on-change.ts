// Parts of the page that are drawn again only when they change.
import { Component, type ComponentChildren } from 'preact';

/**
 * A part of the page that is drawn again only when one of its props is another one. Functions do not count: those of this page
 * look up what they need when they are called.
 */
export function drawnOnChange<Props extends object>(draw: (props: Props) => ComponentChildren) {
  return class extends Component<Props> {
    override shouldComponentUpdate(next: Readonly<Props>): boolean {
      for (const key in next) {
        if (typeof next[key] !== 'function' && next[key] !== this.props[key as keyof typeof this.props]) return true;
      }
      return false;
    }

    render(props: Props): ComponentChildren {
      return draw(props);
    }
  };
}
