/**
 * `piecewise doctor`: checks in a few seconds what works from here, and says what to do about what does not. It joins no
 * swarm, and leaves nothing behind.
 */
import * as Effect from "effect/Effect"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as Diagnosis from "./Diagnosis.ts"
import type { Finding } from "./Finding.ts"
import * as JsonResult from "./JsonResult.ts"
import type { Output } from "./Output.ts"
import * as PeerOptions from "./PeerOptions.ts"
import * as TerminalText from "./TerminalText.ts"
import * as Units from "./Units.ts"

/** Runs the checks and prints a line for each. Fails if something does not work. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const { dht, encryption, from, listen, udp } = yield* PeerOptions.read(args)
  const directory = Arguments.get(args, "output") ?? "."
  const findings = yield* Diagnosis.run({ directory, listen, from, dht, udp, encryption })
  if (Arguments.has(args, "json")) {
    yield* JsonResult.print(output, { _tag: "Diagnosed", version: 1, checks: findings })
  } else {
    output.print(linesOf(findings))
  }
  const failed = findings.filter(({ state }) => state === "fails").length
  if (failed > 0) {
    const what = failed === 1 ? "1 check fails" : `${failed} checks fail`
    return yield* new CommandFailed({ why: `${what} of ${Units.count(findings.length, "check")}` })
  }
})

const signs: Readonly<Record<Finding["state"], string>> = { works: "ok", fails: "FAILS", unknown: "unknown" }

/** A line for each finding, aligned. */
export const linesOf = (findings: ReadonlyArray<Finding>): ReadonlyArray<string> => {
  const width = Math.max(...findings.map(({ name }) => name.length))
  return findings.map(({ advice, name, state, what }) =>
    TerminalText.clean(
      `${signs[state].padEnd(7)}  ${name.padEnd(width)}  ${what}${advice === undefined ? "" : `; ${advice}`}`
    )
  )
}
