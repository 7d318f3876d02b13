/**
 * `--log-level`: whether the engine's logs are written to standard error, and which. Without it the command line shows
 * what people want to know in its own words, and only the logs of libraries about trouble.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import type * as Engine from "../engine/Engine.ts"
import * as Arguments from "./Arguments.ts"
import type * as Commands from "./Commands.ts"
import type { Output } from "./Output.ts"

const severities: Readonly<Record<(typeof Commands.logLevels)[number], LogLevel.Severity>> = {
  error: "Error",
  warning: "Warn",
  info: "Info",
  debug: "Debug"
}

const levelOf = (args: Arguments.Arguments): LogLevel.Severity | undefined => {
  const level = Arguments.get(args, "log-level")
  // `Arguments.read` accepts no other value.
  return level === undefined ? undefined : severities[level as keyof typeof severities]
}

/** What the engine of a command reports. Nobody can read metrics of a command. */
export const telemetry = (args: Arguments.Arguments): Engine.TelemetryOptions => ({
  metrics: false,
  logs: levelOf(args) !== undefined
})

/** Writes an entry as one line: its level, its message, and its annotations as `name=value`. A cause has lines below. */
const toLines = (output: Output) =>
  Logger.make(({ cause, fiber, logLevel, message }) => {
    const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
    const facts = annotations.map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    output.note([`${logLevel.toLowerCase()}:`, ...[message].flat().map(String), ...facts].join(" "))
    if (cause.reasons.length > 0) for (const line of Cause.pretty(cause).split("\n")) output.note(line)
  })

const logging = <A, E, R>(
  command: Effect.Effect<A, E, R>,
  level: LogLevel.Severity | undefined,
  output: Output
): Effect.Effect<A, E, R> =>
  level === undefined
    ? command
    : command.pipe(
        Effect.provideService(References.MinimumLogLevel, level),
        Effect.provide(Logger.layer([toLines(output)]))
      )

/** Runs a command with the logs that are asked for. */
export const within = <A, E, R>(
  command: Effect.Effect<A, E, R>,
  args: Arguments.Arguments,
  output: Output
): Effect.Effect<A, E, R> => logging(command, levelOf(args), output)

/** Runs a service, whose logs are all that people see of it: without the option, those of level `info`. */
export const withinService = <A, E, R>(
  command: Effect.Effect<A, E, R>,
  args: Arguments.Arguments,
  output: Output
): Effect.Effect<A, E, R> => logging(command, levelOf(args) ?? "Info", output)
