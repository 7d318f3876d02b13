/**
 * Opens a session in SQLite and commits random changes until it is killed: `FILE SEED`. Says when it begins to open it,
 * when it has, and the number of each commit once it has returned.
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as SqliteSessionStore from "../../../src/session/provider/node/SqliteSessionStore.ts"
import { batches } from "../sessionModel.ts"

const [file, seed] = process.argv.slice(2)

const say = (text: string) => Effect.sync(() => writeSync(1, `${text}\n`))

const program = Effect.gen(function* () {
  const all = fc.sample(batches, { seed: Number(seed), numRuns: 1_000 })
  yield* say("opening")
  const store = yield* SqliteSessionStore.make({ file: file! })
  yield* say("opened")
  for (const [number, changes] of all.entries()) {
    yield* store.commit(changes)
    yield* say(String(number))
  }
  return yield* Effect.never
})

await Effect.runPromise(Effect.scoped(program))
