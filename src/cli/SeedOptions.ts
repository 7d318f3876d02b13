/**
 * The options that limit how long a command seeds.
 */
import * as Effect from "effect/Effect"
import type { SeedingGoal } from "../torrent/SeedingGoal.ts"
import * as Arguments from "./Arguments.ts"
import * as Units from "./Units.ts"

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

/** Reads `--seed-ratio` and `--seed-time`; `undefined` if neither was given. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const ratioText = Arguments.get(args, "seed-ratio")
  const timeText = Arguments.get(args, "seed-time")
  if (ratioText === undefined && timeText === undefined) return undefined
  const ratio = ratioText === undefined ? undefined : Number(ratioText)
  if (ratio !== undefined && !(/^\d+(?:\.\d+)?$/.test(ratioText!) && ratio > 0 && Number.isFinite(ratio))) {
    return yield* wrong(`--seed-ratio ${ratioText} is not a ratio: it must be a number such as 1.5`)
  }
  const time = timeText === undefined ? undefined : Units.parseDuration(timeText)
  if (timeText !== undefined && time === undefined) {
    return yield* wrong(`--seed-time ${timeText} is not a time: it must be a time such as 30m, 2h or 7d`)
  }
  const goal: SeedingGoal = { ratio, time }
  return goal
})
