import { spawn } from "node:child_process"
import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Prng from "../../src/base/Prng.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import { batches, change, copyOf, drawModel, drawStore, emptyModel, type Model } from "./sessionModel.ts"

const { PIECEWISE_KILLS = "10", PIECEWISE_SEED = String(Date.now() % 2 ** 31) } = process.env

const program = Path.join(import.meta.dirname, "programs/commit-until-killed.ts")

/** Starts the program, and kills it `millis` after it has said `when`. Returns the number of commits that it has told of. */
const killed = (file: string, seed: number, when: string, millis: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, file, String(seed)], { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    let errors = ""
    let isTimed = false
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (isTimed || !output.includes(`${when}\n`)) return
      isTimed = true
      setTimeout(() => child.kill("SIGKILL"), millis)
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text
    })
    child.on("close", (_, signal) => {
      if (signal !== "SIGKILL") return reject(new Error(`the program ended by itself: ${errors}`))
      resolve(output.split("\n").filter((line) => /^\d+$/.test(line)).length)
    })
  })

const found = (file: string) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(SqliteSessionStore.make({ file }), drawStore)))

it(`a session in SQLite survives ${PIECEWISE_KILLS} kills: it has every commit that returned, and no half of one`, {
  timeout: 20_000 + Number(PIECEWISE_KILLS) * 5_000
}, async () => {
  const random = Prng.make(Number(PIECEWISE_SEED))
  const folder = await FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-kills-"))
  let model: Model = emptyModel()
  let file = ""
  for (let kill = 0; kill < Number(PIECEWISE_KILLS); kill++) {
    // A new session is made, and migrated, by the first opening.
    const isNew = kill % 2 === 0
    if (isNew) {
      file = Path.join(folder, `${kill}.db`)
      model = emptyModel()
    }
    const seed = Prng.integer(random, 2 ** 31)
    const millis = Prng.integer(random, isNew ? 20 : 200)
    const told = await killed(file, seed, isNew ? "opening" : "opened", millis)

    const session = await found(file)

    const all = fc.sample(batches, { seed, numRuns: 1_000 })
    for (const changes of all.slice(0, told)) for (const made of changes) change(model, made)
    const next = copyOf(model)
    // One more may have been kept, of which the program did not tell any more.
    for (const made of all[told] ?? []) change(next, made)
    const what = `PIECEWISE_SEED=${PIECEWISE_SEED}, kill ${kill} after ${millis} ms and ${told} commits`
    try {
      assert.deepStrictEqual(session, drawModel(model), what)
    } catch {
      assert.deepStrictEqual(session, drawModel(next), what)
      model = next
    }
  }
  await FileSystem.rm(folder, { recursive: true })
})
