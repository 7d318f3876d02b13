import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as DhtStore from "../../../src/discovery/dht/DhtStore.ts"
import * as FileDhtStore from "../../../src/discovery/dht/provider/node/FileDhtStore.ts"
import * as NodeWholeFile from "../../../src/storage/provider/node/NodeWholeFile.ts"
import * as MemoryUdpNetwork from "../../../src/testing/MemoryUdpNetwork.ts"
import * as Holders from "../../storage/holders.ts"
import { hostOf, port, start, startMany } from "./dhtHosts.ts"

const folderScoped = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-dht-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true }))
)

const node = (number: number, family: "ipv4" | "ipv6" = "ipv4") => ({
  host: family === "ipv4" ? `192.0.2.${number}` : `2001:db8::${number}`,
  port: 6_881
})

const saved = (digit: string): DhtStore.Saved => ({
  ipv4: { id: digit.repeat(40), nodes: [node(1)] },
  ipv6: { id: digit.repeat(40), nodes: [node(1, "ipv6")] }
})

/** What a store loads that is not the owner of a file with `saved`. */
const shared: DhtStore.Saved = { ipv4: { nodes: [node(1)] }, ipv6: { nodes: [node(1, "ipv6")] } }

const names = (folder: string) => Effect.promise(() => readdir(folder))
const contentOf = (file: string) => Effect.promise(() => readFile(file, "utf8"))

/** Saves in a program of its own, which ends then. */
const saveOnce = (file: string, content: DhtStore.Saved) =>
  Effect.scoped(Effect.flatMap(FileDhtStore.make({ file }), ({ save }) => save(content)))

const loadOnce = (file: string) => Effect.scoped(Effect.flatMap(FileDhtStore.make({ file }), ({ load }) => load))

/** What may be at the path, and what it is. */
const foreign: ReadonlyArray<readonly [what: string, text: string]> = [
  ["nothing", ""],
  ["half an object", "{"],
  ["an array", "[]"],
  ["no id", '{"version":1,"ipv4":{"id":"x","nodes":[]}}'],
  ["a later version", '{"version":2,"ipv4":{"nodes":[]}}'],
  ["what another program keeps", '{"version":1,"name":"of another program"}'],
  ["a field of a later version", '{"version":1,"ipv4":{"nodes":[],"later":true}}'],
  ["too much", `"${"a".repeat(FileDhtStore.maxBytes)}"`]
]

describe("FileDhtStore", () => {
  it.live("loads nothing before the first save, and then what was saved last", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "not", "yet", "dht.json")
      const { load, save } = yield* FileDhtStore.make({ file })

      const before = yield* load
      const untouched = yield* names(folder)
      yield* save(saved("a"))
      yield* save(saved("b"))
      const after = yield* load

      assert.isUndefined(before)
      assert.deepStrictEqual(untouched, [])
      assert.deepStrictEqual(after, saved("b"))
    })
  )

  it.live("leaves the file alone in its folder", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")

      yield* saveOnce(file, saved("a"))
      const loaded = yield* loadOnce(file)

      assert.deepStrictEqual(loaded, saved("a"))
      assert.deepStrictEqual(yield* names(folder), ["dht.json"])
    })
  )

  it.live.each(foreign)("leaves a file that has %s in it", ([, text]) =>
    Effect.gen(function* () {
      const file = path.join(yield* folderScoped, "dht.json")
      yield* Effect.promise(() => writeFile(file, text))
      const { load, save } = yield* FileDhtStore.make({ file })

      const unread = yield* Effect.flip(load)
      const unsaved = yield* Effect.flip(save(saved("a")))

      assert.strictEqual(unread.operation, "load")
      assert.include(unread.why, file)
      assert.strictEqual(unsaved.operation, "save")
      assert.strictEqual(yield* contentOf(file), text)
    })
  )

  it.live("reads a file without a version as one of the first", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folderScoped, "dht.json")
      yield* Effect.promise(() => writeFile(file, `{"ipv4":{"id":"${"a".repeat(40)}","nodes":["192.0.2.1:6881"]}}`))

      assert.deepStrictEqual(yield* loadOnce(file), { ipv4: saved("a").ipv4! })
    })
  )

  it.live("saves again when what it could not read was moved away", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folderScoped, "dht.json")
      yield* Effect.promise(() => writeFile(file, "{"))
      const { load, save } = yield* FileDhtStore.make({ file })
      const { why } = yield* Effect.flip(save(saved("a")))

      yield* Effect.promise(() => rm(file))
      yield* save(saved("a"))

      assert.include(why, "move it away")
      assert.deepStrictEqual(yield* load, saved("a"))
    })
  )

  it.live("keeps the old file, and leaves no other, if a save fails", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      yield* Effect.promise(() => mkdir(file))

      const error = yield* Effect.flip(saveOnce(file, saved("a")))

      assert.strictEqual(error.operation, "save")
      assert.include(error.message, `${file}: it is a folder`)
      assert.deepStrictEqual(yield* names(folder), ["dht.json"])
    })
  )

  it.live("never leaves half a file to a reader", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folderScoped, "dht.json")
      const { load, save } = yield* FileDhtStore.make({ file })
      yield* save(saved("0"))
      const saving = yield* Effect.forkChild(
        Effect.forEach("123456789abcdef", (digit) => save(saved(digit)), { discard: true })
      )

      for (let reads = 0; reads < 30; reads++) {
        const found = (yield* load)!
        assert.deepStrictEqual(found, saved(found.ipv4!.id![0]!))
      }
      yield* Fiber.join(saving)

      assert.include(yield* contentOf(file), "f".repeat(40))
    })
  )

  it.live("removes what a killed process left", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      const left = path.join(folder, `${NodeWholeFile.temporaryStart(file)}0`)
      yield* Effect.promise(() => writeFile(left, "half", { mode: 0o400 }))

      yield* saveOnce(file, saved("a"))

      assert.deepStrictEqual(yield* names(folder), ["dht.json"])
    })
  )

  it.live("gives the ids to one of two programs, and lets it alone save", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      yield* saveOnce(file, saved("a"))
      const owner = yield* Holders.start(Holders.node, folder, "dht.json")

      const loaded = yield* Effect.scoped(
        Effect.gen(function* () {
          const { load, save } = yield* FileDhtStore.make({ file })
          const loaded = yield* load
          yield* save(saved("b"))
          return loaded
        })
      )
      yield* owner.end

      assert.strictEqual(owner.said, "held")
      assert.deepStrictEqual(loaded, shared)
      assert.deepStrictEqual(yield* loadOnce(file), saved("a"))
    })
  )

  it.live("takes the file over from an owner that was killed, and keeps the nodes that it saved", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      const { load, save } = yield* FileDhtStore.make({ file })
      const owner = yield* Holders.start(Holders.node, folder, "dht.json")
      yield* load
      // What the owner saves.
      const theirs = Array.from({ length: DhtStore.maxSavedNodes }, (_, index) => node(index + 1))
      const content = { version: 1, ipv4: { id: "a".repeat(40), nodes: theirs.map(({ host }) => `${host}:6881`) } }
      yield* Effect.promise(() => writeFile(file, JSON.stringify(content)))

      owner.kill("SIGKILL")
      yield* owner.end
      const ours: DhtStore.Saved = { ipv4: { id: "b".repeat(40), nodes: [node(201), node(2)] } }
      yield* save(ours)
      const merged = yield* load
      yield* save(ours)

      assert.strictEqual(merged!.ipv4!.id, "b".repeat(40))
      assert.deepStrictEqual(merged!.ipv4!.nodes.slice(0, 4), [node(201), node(2), node(1), node(3)])
      assert.lengthOf(merged!.ipv4!.nodes, DhtStore.maxSavedNodes)
      assert.deepStrictEqual(yield* load, ours)
    })
  )

  it.live("keeps the id of a family that the next owner does not use", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      yield* saveOnce(file, saved("a"))
      const { load, save } = yield* FileDhtStore.make({ file })
      const owner = yield* Holders.start(Holders.node, folder, "dht.json")
      const { ipv6 } = (yield* load)!
      yield* owner.end

      yield* save({ ipv4: { id: "b".repeat(40), nodes: [node(2)] }, ipv6: ipv6! })

      assert.deepStrictEqual((yield* load)!.ipv6, saved("a").ipv6)
    })
  )

  it.live("writes nothing if it only loads", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "dht.json")
      yield* saveOnce(file, saved("a"))
      const content = yield* contentOf(file)
      const { load, save } = yield* FileDhtStore.make({ file, isLoadOnly: true })

      const loaded = yield* load
      const during = yield* names(folder)
      yield* save(saved("b"))

      assert.deepStrictEqual(loaded, shared)
      assert.deepStrictEqual(during, ["dht.json"])
      assert.strictEqual(yield* contentOf(file), content)
    })
  )

  it.live("says why it cannot save if its folder cannot be made", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const file = path.join(folder, "below", "dht.json")
      yield* Effect.promise(() => writeFile(path.join(folder, "below"), ""))

      const error = yield* Effect.flip(saveOnce(file, saved("a")))

      assert.strictEqual(error.operation, "save")
      assert.include(error.message, "a file is in the way of its folder")
    })
  )
})

describe("Two DHTs that share a file", () => {
  it.effect("have two ids, and the first one keeps its own from one run to the next", () =>
    Effect.gen(function* () {
      const file = path.join(yield* folderScoped, "dht.json")
      yield* startMany(10)
      /** Begins a node, and returns its first id: later it has one that suits its address. */
      const begin = Effect.fnUntraced(function* (host: string) {
        const store = FileDhtStore.layer({ file })
        const dht = yield* start(host, { bootstrap: [{ host: hostOf(0), port }], store })
        yield* TestClock.adjust("1 millis")
        const { id } = (yield* dht.status).ipv4!
        yield* TestClock.adjust("3 minutes")
        return { id, later: (yield* dht.status).ipv4!.id }
      })
      const before = yield* Effect.scoped(begin(hostOf(40)))

      const [first, second] = yield* Effect.scoped(
        Effect.all([
          begin(hostOf(40)),
          // Ends, and so saves, while the first one runs.
          Effect.scoped(begin(hostOf(41)))
        ])
      )
      const after = yield* Effect.scoped(begin(hostOf(40)))

      assert.strictEqual(first.id, before.later)
      assert.notStrictEqual(second.id, before.later)
      assert.strictEqual(after.id, before.later)
    }).pipe(Effect.scoped, Effect.provide(MemoryUdpNetwork.layer({ seed: 7 })))
  )
})
