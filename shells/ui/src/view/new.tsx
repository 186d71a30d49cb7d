// The form of a new task, made from the table of task types. What will run is shown as it is typed; what is wrong is said
// by the server, at the field.

import { useEffect, useRef, useState } from "preact/hooks";
import type { CommandLine, Param, Task, TaskTypes } from "../core/api";
import {
  bodyOf,
  commandOf,
  type Draft,
  defaultOf,
  draftOf,
  errorsByField,
  firstCommand,
  firstDraft,
  isFlag,
  shellWords,
  typedOf,
} from "../core/form";
import type { Failure } from "../core/machine";
import { taskAddress } from "../core/route";
import { go } from "../shell/hooks";
import { call, post } from "../shell/http";
import { Icon } from "./icon";

/** How long typing must pause before the server is asked what would run, in milliseconds. */
const PAUSE = 200;

export function NewTask({ from }: { from: string }) {
  const [types, setTypes] = useState<TaskTypes>();
  const [draft, setDraft] = useState<Draft>();
  const [failure, setFailure] = useState<Failure>();
  const [tried, setTried] = useState(0);
  // Trying again is what `tried` is for
  useEffect(() => {
    document.title = "New task · Baton";
    const wanted = from === "" ? undefined : call<Task>(taskAddress(from));
    Promise.all([call<TaskTypes>("/types"), wanted]).then(([known, task]) => {
      if (!known.ok) return setFailure(known.failure);
      if (task && !task.ok) return setFailure(task.failure);
      setFailure(undefined);
      setTypes(known.value);
      setDraft(task ? draftOf(task.value) : firstDraft(known.value));
    });
  }, [from, tried]);
  if (failure) {
    return (
      <main class="note">
        <h1>The form can't be shown</h1>
        <p>{failure.detail}</p>
        <button type="button" onClick={() => setTried(tried + 1)}>
          Try again
        </button>
      </main>
    );
  }
  if (!types || !draft) return <main class="new loading">Loading…</main>;
  return <Form types={types} draft={draft} change={(change) => setDraft({ ...draft, ...change })} />;
}

/** What would run, or why not, a moment after the draft has changed. */
function useCommandLine(body: string): { line?: CommandLine; failure?: Failure } {
  const [answer, setAnswer] = useState<{ line?: CommandLine; failure?: Failure }>({});
  useEffect(() => {
    let late = false;
    const timer = setTimeout(() => {
      post<CommandLine>("/tasks?dry_run=true", JSON.parse(body)).then((answer) => {
        if (!late) setAnswer(answer.ok ? { line: answer.value } : { failure: answer.failure });
      });
    }, PAUSE);
    return () => {
      late = true;
      clearTimeout(timer);
    };
  }, [body]);
  return answer;
}

function Form({ types, draft, change }: { types: TaskTypes; draft: Draft; change: (change: Partial<Draft>) => void }) {
  const [refused, setRefused] = useState<{ failure: Failure; body: string }>();
  const [sending, setSending] = useState(false);
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set());
  const form = useRef<HTMLFormElement>(null);
  /** The same for every try of one draft: a POST whose answer was lost must not make a second task. */
  const key = useRef({ body: "", key: "" });
  const body = JSON.stringify(bodyOf(types, draft));
  const { line, failure } = useCommandLine(body);
  const ofPost = refused?.body === body ? refused.failure : undefined;
  const errors = errorsByField(ofPost ?? failure, types, draft);
  // Before it was sent, a field that nobody has been in is not yet wrong.
  const errorOf = (field: string) => (ofPost || touched.has(field) ? errors[field] : undefined);
  const touch = (field: string) => setTouched(new Set([...touched, field]));
  const commands = Object.keys(types.types[draft.type]?.commands ?? {});
  const command = commandOf(types, draft);

  const submit = async (event: Event) => {
    event.preventDefault();
    setSending(true);
    if (key.current.body !== body) key.current = { body, key: `page-${crypto.randomUUID()}` };
    const answer = await post<Task>("/tasks", JSON.parse(body), { "idempotency-key": key.current.key });
    setSending(false);
    if (answer.ok) return go(taskAddress(answer.value.task_id));
    setRefused({ failure: answer.failure, body });
    requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
  };

  const general = ofPost && (errors[""] ?? (ofPost.errors.length === 0 ? ofPost.detail : undefined));
  return (
    <main class="new">
      <h1>New task</h1>
      <form ref={form} onSubmit={submit} noValidate>
        <fieldset class="types">
          <legend>What should run?</legend>
          {Object.entries(types.types).map(([name, type]) => (
            <label key={name} class="type">
              <input
                type="radio"
                name="type"
                value={name}
                checked={draft.type === name}
                onChange={() => change({ type: name, command: firstCommand(types, name), values: {} })}
              />
              <span>
                <b>{name}</b>
                <small>
                  {type.description ||
                    Object.values(type.commands)
                      .map((one) => one.description)
                      .join(" · ")}
                </small>
              </span>
            </label>
          ))}
        </fieldset>
        {commands.length > 1 && (
          <Field label="Command" name="command" error={errorOf("command")} hint={command?.description}>
            {(attributes) => (
              <select
                {...attributes}
                value={draft.command}
                onChange={(event) => change({ command: event.currentTarget.value, values: {} })}
              >
                {commands.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            )}
          </Field>
        )}
        <Field label="Project" name="project" required error={errorOf("project")} hint="Whose config the agent gets">
          {(attributes) => (
            <input
              {...attributes}
              value={draft.project}
              spellcheck={false}
              onInput={(event) => change({ project: event.currentTarget.value })}
              onBlur={() => touch("project")}
            />
          )}
        </Field>
        {command?.params.map((param) => (
          <ParamField
            key={`${draft.type} ${draft.command} ${param.name}`}
            param={param}
            value={typedOf(param, draft)}
            error={errorOf(`params.${param.name}`)}
            change={(value) => change({ values: { ...draft.values, [param.name]: value } })}
            touch={() => touch(`params.${param.name}`)}
          />
        ))}
        <section class="runs" aria-live="polite">
          <h2>This will run</h2>
          {line ? (
            <pre>
              <span class="agent">{line.agent ? shellWords(line.agent) : "<agent>"}</span> {shellWords(line.arguments)}
            </pre>
          ) : (
            <pre class="faint">
              {failure && failure.errors.length === 0
                ? failure.detail
                : "Fill in what is needed to see the command line."}
            </pre>
          )}
        </section>
        {general && (
          <p class="problem" role="alert">
            <Icon name="warning" /> {general}
          </p>
        )}
        <div class="actions">
          <button type="submit" class="main" disabled={sending}>
            {sending ? "Submitting…" : "Submit"}
          </button>
          <a class="button quiet" href="/">
            Cancel
          </a>
        </div>
      </form>
    </main>
  );
}

interface Attributes {
  id: string;
  name: string;
  required: boolean;
  "aria-invalid": boolean;
  "aria-describedby": string;
}

function Field(props: {
  label: string;
  name: string;
  required?: boolean;
  error?: string | undefined;
  hint?: string | undefined;
  children: (attributes: Attributes) => preact.ComponentChildren;
}) {
  const { label, name, required = false, error, hint } = props;
  const id = `field-${name}`;
  return (
    <div class="field">
      <label for={id}>
        {label}
        {!required && <small> optional</small>}
      </label>
      {props.children({
        id,
        name,
        required,
        "aria-invalid": error !== undefined,
        "aria-describedby": `${id}-says`,
      })}
      <p id={`${id}-says`} class={error === undefined ? "hint" : "hint is-wrong"}>
        {error === undefined ? (hint ?? "") : `${label} ${error}`}
      </p>
    </div>
  );
}

function ParamField(props: {
  param: Param;
  value: string;
  error: string | undefined;
  change: (value: string) => void;
  touch: () => void;
}) {
  const { param, value, error, change, touch } = props;
  if (isFlag(param)) {
    const id = `field-params.${param.name}`;
    return (
      <div class="field is-flag">
        <label for={id}>
          <input
            id={id}
            type="checkbox"
            checked={value === "true"}
            onChange={(event) => change(event.currentTarget.checked ? "true" : "")}
          />
          <span>
            {param.name}
            <small>{param.description}</small>
          </span>
        </label>
        {error !== undefined && <p class="hint is-wrong">{error}</p>}
      </div>
    );
  }
  const usual = defaultOf(param);
  const example = usual === "" ? String(param.example ?? "") : usual;
  const hint = [param.description, param.repeated ? "one a line" : "", usual === "" ? "" : `${usual} if left empty`];
  const isLong =
    param.as === "stdin" || param.repeated || (param.type === "string" && param.required && param.as === "option");
  return (
    <Field
      label={param.name}
      name={`params.${param.name}`}
      required={param.required}
      error={error}
      hint={hint.filter((part) => part !== "").join("; ")}
    >
      {(attributes) =>
        param.enum && !param.repeated ? (
          <select {...attributes} value={value} onChange={(event) => change(event.currentTarget.value)} onBlur={touch}>
            <option value="">{usual}</option>
            {param.enum.map((one) => (
              <option key={String(one)}>{String(one)}</option>
            ))}
          </select>
        ) : isLong ? (
          <textarea
            {...attributes}
            rows={3}
            value={value}
            placeholder={example}
            onInput={(event) => change(event.currentTarget.value)}
            onBlur={touch}
          />
        ) : (
          <input
            {...attributes}
            value={value}
            placeholder={example}
            inputMode={param.type === "string" ? "text" : "numeric"}
            spellcheck={false}
            onInput={(event) => change(event.currentTarget.value)}
            onBlur={touch}
          />
        )
      }
    </Field>
  );
}
