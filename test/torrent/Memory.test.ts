import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"

/** Runs a program that prints the memory of something in bytes, in a process of its own that can collect garbage. */
const run = (program: ReadonlyArray<string>) =>
  Effect.promise(
    () =>
      promisify(execFile)(process.execPath, ["--expose-gc", ...program], { cwd: new URL("../../", import.meta.url) })
    // Besides the logs of the engine.
  ).pipe(Effect.map(({ stdout }) => Number(/^[\d.]+$/m.exec(stdout)?.[0])))

const measure = (source: string) => run(["--input-type=module", "-e", source])

const used = `
const used = () => {
  gc()
  gc()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
`

describe("memory", () => {
  it.live("fault 74: a torrent's log of events takes next to nothing before there are any", () =>
    Effect.gen(function* () {
      const bytes = yield* measure(`
        import * as EventLog from "./src/torrent/EventLog.ts"
        ${used}
        const make = () => EventLog.make()
        const kept = [make()]
        const before = used()
        for (let index = 0; index < 500; index++) kept.push(make())
        console.log((used() - before) / 500)
        EventLog.report(kept.at(-1), { _tag: "Verified" })
      `)

      // 200 KiB if it reserves its slots.
      assert.isBelow(bytes, 8_000)
    })
  )

  it.live("fault 74: a file of a torrent takes little more than its name", () =>
    Effect.gen(function* () {
      const bytes = yield* measure(`
        import * as FileLayout from "./src/metainfo/FileLayout.ts"
        ${used}
        const text = (number) => Buffer.from("name-" + number).toString()
        const entry = (_, index) => {
          const path = []
          for (const number of ["torrent", index % 100, index]) path.push(text(number))
          return { path, length: 1_000 }
        }
        const make = () => FileLayout.make({ files: Array.from({ length: 20_000 }, entry), pieceLength: 16_384 })
        const kept = [make()]
        const before = used()
        kept.push(make())
        console.log((used() - before) / 20_000)
        if (kept.at(-1).files.length !== 20_000) throw new Error()
      `)

      // 29 B, 170 as objects whose folders share their names, and 360 if each path has room to grow and names of its own.
      assert.isBelow(bytes, 45)
    })
  )

  it.live.each([
    ["none of its files exists", "empty", "shared", 220],
    ["all of its files are complete", "seed", "shared", 250],
    ["half of each of its files is downloaded", "half", "shared", 290],
    // 1,050, 1,250 and 1,010 B with both paths as arrays, a group for each file, and a path that it keeps.
    ["none of its files exists, and they have a portable name", "empty", "portable", 270],
    ["all of its files are complete, and they have a portable name", "seed", "portable", 270],
    ["half of each of its files is downloaded, and they have a portable name", "half", "portable", 325],
    ["none of its files exists, and each has a folder of its own", "empty", "alone", 700],
    ["all of its files are complete, and each has a folder of its own", "seed", "alone", 450],
    ["half of each of its files is downloaded, and each has a folder of its own", "half", "alone", 1_300]
  ] as const)("fault 74: a torrent takes little for each file if %s", ([, mode, shape, most]) =>
    Effect.gen(function* () {
      const program = new URL("programs/memory-of-files.ts", import.meta.url).pathname

      const bytes = yield* run([program, mode, "5000", shape])

      // 320, 900 and 8,200 B with objects for each file: its place in the layout, what it looks like, and its claim.
      assert.isBelow(bytes, most)
    })
  )

  const torrents = (count: number, seeds: boolean, ready: string, dht: boolean) => `
    import * as FS from "node:fs"
    import * as OS from "node:os"
    import * as Path from "node:path"
    import * as Effect from "effect/Effect"
    import { CreateTorrent, Engine, Metainfo } from "./src/index.ts"
    import { NodeEngine } from "./src/node/index.ts"
    ${used}
    const directory = FS.mkdtempSync(Path.join(OS.tmpdir(), "memory-"))
    const content = new Uint8Array(16_384)
    const digests = new Uint8Array(await crypto.subtle.digest("SHA-1", content))
    const infoOf = (name) => {
      if (${seeds}) FS.writeFileSync(Path.join(directory, name), content)
      const files = [{ path: [], length: content.length }]
      return Metainfo.fromBytes(CreateTorrent.encode({ name, files, pieceLength: content.length, digests }))
    }
    const program = Effect.gen(function* () {
      const engine = yield* Engine.Engine
      const infos = []
      for (let index = 0; index < ${count} + 20; index++) infos.push(yield* infoOf("t" + index))
      const start = Effect.fnUntraced(function* (infos) {
        const torrents = []
        for (const info of infos) torrents.push(yield* engine.add(info, { seed: true }))
        for (const torrent of torrents) yield* ${ready}
        yield* Effect.sleep(100)
      })
      yield* start(infos.slice(0, 20))
      const before = used()
      yield* start(infos.slice(20))
      return (used() - before) / ${count}
    })
    console.log(await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(NodeEngine.layer({ directory, dht: ${dht} })))))
    FS.rmSync(directory, { recursive: true })
    process.exit(0)
  `

  it.live.each([
    // 51.9 kB; 58 with a closure for each operation on files and resume data, and 130 with a fiber for all that waits.
    ["without the DHT", false, 53_000],
    // 56.6 kB; 81 with a fiber that waits for the next lookup.
    ["with the DHT", true, 58_000]
  ] as const)("fault 74: a torrent that rests takes little, %s", ([, dht, most]) =>
    Effect.gen(function* () {
      const isChecking = "Effect.map(torrent.status, ({ state }) => state._tag === 'Checking')"
      const started = `Effect.repeat(Effect.tap(${isChecking}, Effect.sleep(20)), { while: (isChecking) => isChecking })`
      const bytes = yield* measure(torrents(150, false, started, dht))

      assert.isBelow(bytes, most)
    })
  )

  it.live.each([
    // 61 kB; 80 with a closure for each operation and a timer for a flush that is over, and 148 with more fibers.
    ["without the DHT", false, 63_000],
    // 64.3 kB; 91 with a fiber that waits for the next lookup.
    ["with the DHT", true, 67_000]
  ] as const)("fault 74: a seeding torrent takes little before its first write, %s", ([, dht, most]) =>
    Effect.gen(function* () {
      const bytes = yield* measure(torrents(100, true, "torrent.completed", dht))

      assert.isBelow(bytes, most)
    })
  )

  it.live("fault 95: a connection keeps nothing of its handshake, however long the peer made that", () =>
    Effect.gen(function* () {
      const bytes = yield* measure(`
        import * as Effect from "effect/Effect"
        import * as Preamble from "./src/connect/Preamble.ts"
        ${used}
        const make = Effect.gen(function* () {
          let sink
          const connection = {
            remote: { host: "127.0.0.1", port: 1 },
            receiveUnsafe: (receiver) => {
              sink = receiver
              queueMicrotask(() => receiver(new Uint8Array(1)))
            },
            resumeUnsafe: () => {},
            writeUnsafe: () => true,
            drained: Effect.void,
            closed: Effect.never
          }
          const reader = (arrived) => (view) => {
            arrived.set(view)
            return { value: 1, rest: arrived.slice() }
          }
          const { connection: behind } = yield* Preamble.read(connection, reader(new Uint8Array(131_072)))
          behind.receiveUnsafe(() => true)
          return [behind, sink]
        })
        const kept = [await Effect.runPromise(make)]
        const before = used()
        for (let turn = 0; turn < 50; turn++) kept.push(await Effect.runPromise(make))
        await new Promise((resolve) => setTimeout(resolve, 10))
        console.log((used() - before) / 50)
        kept.at(-1)[1](new Uint8Array(1))
      `)

      // 256 KiB with what had arrived, and with what the reader has been given of it.
      assert.isBelow(bytes, 16_000)
    })
  )
})
