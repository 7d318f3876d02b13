/**
 * Prints the lines of `--json` for one run of `download` or `seed` (`JsonLines.ts`): the first line, what is reported
 * meanwhile, and the last line, however the command ends.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Version from "../base/Version.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as JsonLines from "./JsonLines.ts"
import type { Output } from "./Output.ts"
import * as TerminalText from "./TerminalText.ts"

/** The lines of one run. */
export interface JsonOutput {
  /** Prints lines. */
  readonly print: (lines: ReadonlyArray<JsonLines.Line>) => void
  /** Makes the line of an event, or of a status and why it is not faster. */
  readonly ofEvent: (event: TorrentEvent) => JsonLines.Line
  readonly ofStatus: (status: TorrentStatus, why: string) => JsonLines.Line
  /** Notes the status that the last line will have. */
  readonly note: (status: TorrentStatus) => void
}

/** Makes the lines of one run, without the first and the last one. */
export const make = (output: Output): JsonOutput & { readonly status: () => TorrentStatus | undefined } => {
  let status: TorrentStatus | undefined
  return {
    print: (lines) => output.print(lines.map((line) => TerminalText.json(JsonLines.encodeLine(line)))),
    ofEvent: JsonLines.ofEvent,
    ofStatus: JsonLines.ofStatus,
    note: (latest) => {
      status = latest
    },
    status: () => status
  }
}

/** Runs `program` between the first and the last line. `now` is a monotonic clock in milliseconds. */
export const run = <A, E extends { readonly message: string }, R>(
  command: "download" | "seed",
  output: Output,
  now: () => number,
  program: (json: JsonOutput) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const started = now()
    const json = make(output)
    json.print([{ _tag: "Begun", version: JsonLines.version, command, program: `piecewise ${Version.version}` }])
    return Effect.onExit(program(json), (exit) =>
      Effect.sync(() => {
        const status = json.status()
        json.print([
          {
            _tag: "Ended",
            ...outcomeOf(exit),
            seconds: Math.round(now() - started) / 1_000,
            status: status && JsonLines.rounded(status)
          }
        ])
      })
    )
  })

/** Returns how a run ended. A defect counts as a failure; `Run.ts` tells people that it is a bug. */
const outcomeOf = (exit: Exit.Exit<unknown, { readonly message: string }>) => {
  if (Exit.isSuccess(exit)) return { exit: "success", why: undefined } as const
  if (Cause.hasInterruptsOnly(exit.cause)) return { exit: "stopped", why: undefined } as const
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  const defect = Cause.squash(exit.cause)
  const why = error?.message ?? (defect instanceof Error ? defect.message : String(defect))
  return { exit: "failure", why } as const
}
