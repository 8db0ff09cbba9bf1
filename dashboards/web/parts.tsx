/** Small parts that several views share. Text is always set as text, never read as HTML. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { age } from './format.ts';
import type { RequestError } from './requests.ts';

/** A state as a coloured word; the word itself tells, the colour only helps. */
export function Badge({ state }: { state: string }) {
  return (
    <span class="badge" data-state={state}>
      {state === 'waiting' ? 'needs a decision' : state}
    </span>
  );
}

/** A progress bar of `done` out of `total`. */
export function ProgressBar({ done, total, label }: { done: number; total: number; label: string }) {
  return (
    <span class="progress">
      <progress max={Math.max(1, total)} value={done} aria-label={label} />
      <span>
        {done} / {total}
      </span>
    </span>
  );
}

/** A message in place of content: what is the case, and what to do. */
export function Notice(props: {
  title: string;
  children: ComponentChildren;
  command?: string;
  kind?: 'error' | 'info';
}) {
  return (
    <section
      class="notice"
      data-kind={props.kind ?? 'info'}
      role={props.kind === 'error' ? 'alert' : undefined}
    >
      <h2>{props.title}</h2>
      <p>{props.children}</p>
      {props.command === undefined ? null : (
        <pre>
          <code>{props.command}</code>
        </pre>
      )}
    </section>
  );
}

/** What went wrong while reading, as a notice. */
export function Trouble({ what, error }: { what: string; error: RequestError }) {
  return (
    <Notice title={what} kind="error">
      {error.message}
    </Notice>
  );
}

/** Sentences about files that could not be read. */
export function Problems({ list }: { list: string[] }) {
  return list.length === 0 ? null : (
    <Notice title="Some files could not be read" kind="error">
      {list.join(' ')}
    </Notice>
  );
}

/** A table that scrolls by itself where it is too wide; the first cell of a row is its heading. */
export function Table(props: {
  caption: string;
  columns: ComponentChildren[];
  rows: ComponentChildren[][];
  numeric?: number[];
}) {
  const numeric = new Set(props.numeric ?? []);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section class="table" aria-label={props.caption} tabIndex={0}>
      <table>
        <caption>
          <span>{props.caption}</span>
        </caption>
        <thead>
          <tr>
            {props.columns.map((column, index) => (
              <th scope="col" key={index} class={numeric.has(index) ? 'number' : undefined}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row, line) => (
            <tr key={line}>
              {row.map((cell, index) =>
                index === 0 ? (
                  <th scope="row" key={index}>
                    {cell}
                  </th>
                ) : (
                  <td key={index} class={numeric.has(index) ? 'number' : undefined}>
                    {cell}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** "3 min ago", kept true while the page is open. */
export function Age({ time }: { time: string | null }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 10_000);
    return () => clearInterval(timer);
  }, []);
  return <time dateTime={time ?? undefined}>{age(time, Math.max(now, Date.now()))}</time>;
}

/** A labelled choice out of a list. */
export function Choice(props: {
  label: string;
  value: string;
  options: [value: string, text: string][];
  change: (value: string) => void;
}) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.change(event.currentTarget.value)}>
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A labelled text or number; `change` is called when the reader is done with it. */
export function Field(props: {
  label: string;
  value: string;
  type?: 'text' | 'number' | 'search';
  step?: string;
  min?: string;
  max?: string;
  live?: boolean;
  change: (value: string) => void;
}) {
  const handler = (event: { currentTarget: HTMLInputElement }) => props.change(event.currentTarget.value);
  const { value, step, min, max } = props;
  const shared = { value, step, min, max, ...(props.live ? { onInput: handler } : { onChange: handler }) };
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is one of the three below
    <label class="field">
      <span>{props.label}</span>
      {props.type === 'number' ? (
        <input type="number" {...shared} />
      ) : props.type === 'search' ? (
        <input type="search" {...shared} />
      ) : (
        <input {...shared} />
      )}
    </label>
  );
}

/** A labelled on and off. */
export function Toggle(props: {
  label: string;
  on: boolean;
  change: (on: boolean) => void;
  swatch?: string;
}) {
  return (
    <label class="toggle">
      <input
        type="checkbox"
        checked={props.on}
        onChange={(event) => props.change(event.currentTarget.checked)}
      />
      {props.swatch === undefined ? null : (
        <span class="swatch" data-swatch={props.swatch} aria-hidden="true" />
      )}
      <span>{props.label}</span>
    </label>
  );
}
