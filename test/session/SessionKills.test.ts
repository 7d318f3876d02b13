import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Prng from "../../src/base/Prng.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import { killed, kills, seed } from "../killed.ts"
import { batches, change, copyOf, drawModel, drawStore, emptyModel, type Model } from "./sessionModel.ts"

const program = Path.join(import.meta.dirname, "programs/commit-until-killed.ts")

const found = (file: string) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(SqliteSessionStore.make({ file }), drawStore)))

it(`a session in SQLite survives ${kills} kills: it has every commit that returned, and no half of one`, {
  timeout: 20_000 + Number(kills) * 5_000
}, async () => {
  const random = Prng.make(Number(seed))
  const folder = await FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-kills-"))
  let model: Model = emptyModel()
  let file = ""
  for (let kill = 0; kill < Number(kills); kill++) {
    // A new session is made, and migrated, by the first opening.
    const isNew = kill % 2 === 0
    if (isNew) {
      file = Path.join(folder, `${kill}.db`)
      model = emptyModel()
    }
    const own = Prng.integer(random, 2 ** 31)
    const millis = Prng.integer(random, isNew ? 20 : 200)
    const lines = await killed(program, [file, String(own)], isNew ? "opening" : "opened", millis)
    const told = lines.filter((line) => /^\d+$/.test(line)).length

    const session = await found(file)

    const all = fc.sample(batches, { seed: own, numRuns: 1_000 })
    for (const changes of all.slice(0, told)) for (const made of changes) change(model, made)
    const next = copyOf(model)
    // One more may have been kept, of which the program did not tell any more.
    for (const made of all[told] ?? []) change(next, made)
    const what = `PIECEWISE_SEED=${seed}, kill ${kill} after ${millis} ms and ${told} commits`
    try {
      assert.deepStrictEqual(session, drawModel(model), what)
    } catch {
      assert.deepStrictEqual(session, drawModel(next), what)
      model = next
    }
  }
  await FileSystem.rm(folder, { recursive: true })
})
