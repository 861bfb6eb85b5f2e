// As much of React's types as these files need.
declare const React: { createElement: unknown };
declare namespace JSX {
  interface Element {}
  interface IntrinsicElements { [name: string]: object }
  interface IntrinsicAttributes { key?: string }
}
