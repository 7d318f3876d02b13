/**
 * Implements `piecewise limits`.
 */
import * as Effect from "effect/Effect"
import * as Size from "../../base/Size.ts"
import type { ServiceLimits } from "../../control/api/ServiceApi.ts"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as Units from "../Units.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

/** What lifts a limit. */
const none = "none"

/** Reads an option that is a rate or `none`; `before` if it was not given. */
const rate = Effect.fnUntraced(function* (args: Arguments.Arguments, name: string, before: Size.Size | undefined) {
  const text = Arguments.get(args, name)
  if (text === undefined) return before
  if (text === none) return undefined
  const value = Units.parseRate(text)
  return value ?? (yield* wrong(`--${name} ${text} is not a rate: it must be such as 500KiB or 2MiB, or none`))
})

/** Reads an option that is a number of torrents or `none`; `before` if it was not given. */
const count = Effect.fnUntraced(function* (args: Arguments.Arguments, name: string, before: number | undefined) {
  const text = Arguments.get(args, name)
  if (text === undefined) return before
  if (text === none) return undefined
  if (/^\d{1,6}$/.test(text)) return Number(text)
  return yield* wrong(`--${name} ${text} is not a number of torrents: it must be such as 3, or none`)
})

/** Changes limits as the options say. */
const change = Effect.fnUntraced(function* (args: Arguments.Arguments, before: ServiceLimits) {
  const limits: ServiceLimits = {
    downloads: yield* count(args, "downloads", before.downloads),
    seeds: yield* count(args, "seeds", before.seeds),
    downloadBytesPerSecond: yield* rate(args, "down", before.downloadBytesPerSecond),
    uploadBytesPerSecond: yield* rate(args, "up", before.uploadBytesPerSecond)
  }
  return limits
})

const options = ["down", "up", "downloads", "seeds"]

/** Shows the limits, after changing them if an option says so. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  // A wrong option is refused whether or not a service runs.
  yield* change(args, {})
  const limits = yield* ServiceConnection.use(args, (client) =>
    Effect.gen(function* () {
      const before = yield* client.service.limits()
      if (!options.some((name) => Arguments.has(args, name))) return before
      return yield* client.service.setLimits({ payload: yield* change(args, before) })
    })
  )
  if (Arguments.has(args, "json")) return ServiceLines.print(output, { _tag: "Limits", limits })
  output.print([
    `download   ${rateText(limits.downloadBytesPerSecond)}`,
    `upload     ${rateText(limits.uploadBytesPerSecond)}`,
    `downloads  ${limits.downloads ?? "no limit"}`,
    `seeds      ${limits.seeds ?? "no limit"}`
  ])
})

const rateText = (rate: Size.Size | undefined): string => {
  const bytesPerSecond = Size.bytesOf(rate)
  return bytesPerSecond === undefined ? "no limit" : `${Units.bytes(bytesPerSecond)}/s`
}
