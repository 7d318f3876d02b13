/**
 * Times operations: `node test/bench/time.ts [--turns N] [WORD...]` for those whose names contain a word. Prints the
 * nanoseconds of each as one JSON line. With `--turns` it only runs so many turns of each, for a program that counts
 * what the process does.
 */
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import type { Turn } from "./Operation.ts"
import { operations } from "./operations.ts"

const { positionals, values } = parseArgs({ allowPositionals: true, options: { turns: { type: "string" } } })

/** The best of seven runs of about a tenth of a second, because the machine is shared. */
const runs = 7
const runMillis = 100

/** Runs turns until the time is over, and returns how many there were. */
const runFor = (turn: Turn, millis: number): Effect.Effect<number> =>
  Effect.gen(function* () {
    let turns = 0
    const end = performance.now() + millis
    while (performance.now() < end) {
      if (typeof turn === "function") turn()
      else yield* turn
      turns++
    }
    return turns
  })

const time = Effect.fnUntraced(function* (turn: Turn, count: number) {
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run < runs; run++) {
    const start = performance.now()
    const turns = yield* runFor(turn, runMillis)
    best = Math.min(best, ((performance.now() - start) * 1e6) / (turns * count))
  }
  return best
})

for (const { count, make, name } of operations) {
  if (positionals.length > 0 && !positionals.some((word) => name.includes(word))) continue
  const measured = Effect.gen(function* () {
    const turn = yield* make
    if (values.turns === undefined) return yield* time(turn, count)
    for (let turns = 0; turns < Number(values.turns); turns++) {
      if (typeof turn === "function") turn()
      else yield* turn
    }
    return undefined
  })
  const nanoseconds = await Effect.runPromise(Effect.scoped(Effect.provide(measured, BufferBudget.layer())))
  console.log(JSON.stringify({ name, nanoseconds }))
}
