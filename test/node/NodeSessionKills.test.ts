import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Prng from "../../src/base/Prng.ts"
import * as Session from "../../src/session/Session.ts"
import { killed, kills, seed } from "../killed.ts"
import * as SessionOperations from "./sessionOperations.ts"

const program = Path.join(import.meta.dirname, "programs/session-until-killed.ts")

/** What the program says before it is killed, and how many milliseconds later that is at most. */
const moments = [
  ["opened", 400],
  ['{"_tag":"Rename"', 8],
  ['{"_tag":"Remove"', 8],
  ['{"_tag":"Move"', 12]
] as const

const numbers = [...SessionOperations.torrents.keys()]

/** What is known of a torrent: whether the session has it, and whether it is paused there. */
type Known = "absent" | "running" | "paused"

/** What an operation makes of a torrent. */
const after = (before: Known, { _tag }: SessionOperations.Operation): Known => {
  if (_tag === "Remove") return "absent"
  if (_tag === "Rename" || _tag === "Move") return before
  return _tag === "Pause" ? "paused" : "running"
}

/** The files in a folder, without those that piecewise keeps for itself. */
const filesIn = (folder: string): ReadonlyArray<string> =>
  FileSystem.readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes(".piecewise"))
    .map((entry) => Path.relative(folder, Path.join(entry.parentPath, entry.name)))

/** Opens the session and has every torrent verified. Returns what is known of each, and the bytes that it lacks. */
const inspect = (folder: string) =>
  Effect.gen(function* () {
    const session = yield* Session.Session
    // What the kill has interrupted is finished first.
    const removing = Effect.map(session.list, ({ torrents }) => torrents.some(({ state }) => state._tag === "Removing"))
    while (yield* removing) yield* Effect.sleep("10 millis")
    const { unreadable } = yield* session.list
    assert.deepStrictEqual(unreadable, [])
    return yield* Effect.forEach(numbers, (number) =>
      Effect.gen(function* () {
        const found = yield* Effect.result(session.get(SessionOperations.torrents[number]!.metainfo.infoHash))
        if (found._tag === "Failure") return { known: "absent" as Known, missingBytes: 0 }
        yield* found.success.recheck
        const { progress, state } = yield* found.success.status
        const known: Known = state._tag === "Paused" ? "paused" : "running"
        return { known, missingBytes: progress?.missingBytes }
      })
    )
  }).pipe(Effect.provide(SessionOperations.layerIn(folder), { local: true }), Effect.runPromise)

it(`a session survives ${kills} kills: no torrent is lost or comes back, and every file is where it should be`, {
  timeout: 20_000 + Number(kills) * 6_000
}, async () => {
  const random = Prng.make(Number(seed))
  const folder = FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-kills-"))
  const known: Array<Known> = numbers.map(() => "absent")
  const leftOver = new Set<number>()
  for (let kill = 0; kill < Number(kills); kill++) {
    const chance = Prng.integer(random, 2 ** 31)
    const [when, latest] = moments[kill % moments.length]!
    const millis = Prng.integer(random, latest)
    const lines = await killed(program, [folder, String(chance)], when, millis)
    const operations = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
    const done = lines.filter((line) => line === "done").length
    const what = `PIECEWISE_SEED=${seed}, kill ${kill} ${millis} ms after ${when} and ${done} operations`
    const pending = operations[done]
    for (const operation of operations.slice(0, done)) {
      known[operation.number] = after(known[operation.number]!, operation)
    }

    const found = await inspect(folder)

    for (const number of numbers) {
      const { known: is, missingBytes } = found[number]!
      const may = [known[number]!, ...(pending?.number === number ? [after(known[number]!, pending)] : [])]
      assert.include(may, is, `${what}: torrent ${number} after ${lines.join(" ")}`)
      assert.strictEqual(missingBytes, 0, `${what}: torrent ${number}`)
      known[number] = is
    }
    // An addition that was interrupted may leave the files that were put there for it, until they are added.
    if (pending?._tag === "Add") leftOver.add(pending.number)
    for (const number of numbers) if (known[number] !== "absent") leftOver.delete(number)
    const own = numbers.filter((number) => !leftOver.has(number)).map((number) => `t${number}`)
    const expected = numbers.filter((number) => known[number] !== "absent").map((number) => `t${number}`)
    const folders = filesIn(folder).map((file) => {
      const [first, second] = file.split(Path.sep)
      return first === SessionOperations.elsewhere ? second! : first!
    })
    assert.deepStrictEqual(
      folders.filter((name) => own.includes(name)).sort(),
      expected.flatMap((name) => [name, name]),
      what
    )
  }
  FileSystem.rmSync(folder, { recursive: true })
})
