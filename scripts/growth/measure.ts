/**
 * One measurement of `npm run bench:growth`, in a process of its own: `node --expose-gc scripts/growth/measure.ts WHAT
 * COUNT FOLDER`. Prints the figures as one JSON line. The engine is the real one, on files in FOLDER and TCP over
 * loopback; the other side is `peers.ts`, in another process.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import type { Torrent } from "../../src/torrent/Torrent.ts"
import * as Pattern from "./pattern.ts"

const [what, countText, folder] = process.argv.slice(2) as [string, string, string]
const count = Number(countText)
const mebibyte = 1_048_576

/** The figures of a measurement, by their names in `scripts/growth.ts`. */
type Figures = Readonly<Record<string, number>>

/** Microseconds of CPU that this process has used, with all its threads. */
const cpu = (): number => {
  const { system, user } = process.cpuUsage()
  return user + system
}

/** Bytes that are in use, in the heap and outside of it. */
const used = (): number => {
  gc!()
  gc!()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/** The most anonymous memory of this process so far, in bytes, as far as `watch` saw it. */
const watch = () => {
  let peak = 0
  const look = async () => {
    const status = await readFile("/proc/self/status", "utf8").catch(() => "")
    peak = Math.max(peak, Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024)
  }
  const timer = setInterval(look, 50)
  return () => {
    clearInterval(timer)
    return peak
  }
}

/** How often the threads of this process have waited for something and were woken up. Wakes none itself. */
const wakeUps = (): number => {
  let sum = 0
  for (const task of readdirSync("/proc/self/task")) {
    const status = readFileSync(`/proc/self/task/${task}/status`, "utf8")
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0)
  }
  return sum
}

const others = new Set<ChildProcess>()

/** Starts the other side, and returns the JSON lines that it prints. */
const startPeers = (role: "seeds" | "leeches", peers: number, shape: Pattern.Shape, ...more: ReadonlyArray<string>) => {
  const script = path.join(import.meta.dirname, "peers.ts")
  const args = [script, role, String(peers), JSON.stringify(shape), ...more]
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })
  others.add(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return Effect.promise(async () => {
    const { done, value } = await lines.next()
    if (done) throw new Error(`the ${role} ended`)
    return JSON.parse(value) as ReadonlyArray<string>
  })
}

const seeds = (peers: number, shape: Pattern.Shape, ...more: ReadonlyArray<string>) =>
  Effect.map(startPeers("seeds", peers, shape, ...more), (texts) => texts.map((text) => PeerAddress.parse(text)!))

/** Waits until something holds of the status of a torrent. */
const until = Effect.fnUntraced(function* (
  torrent: Torrent,
  holds: (status: Effect.Success<Torrent["status"]>) => boolean
) {
  while (true) {
    const status = yield* torrent.status
    if (status.state._tag === "Failed") return yield* Effect.die(status.state.error)
    if (holds(status)) return
    yield* Effect.sleep(10)
  }
})

const run = <A, E>(
  program: Effect.Effect<A, E, Engine.Engine | import("effect/Scope").Scope>,
  config: Partial<NodeEngine.Options> = {},
  storage?: Layer.Layer<Storage, never, Layer.Success<ReturnType<typeof NodeEngine.layerServices>>>
): Promise<A> => {
  const options = { directory: folder, maxConnections: 1_000, dht: false, ...config }
  const services = NodeEngine.layerServices(options)
  const all = storage === undefined ? services : Layer.provideMerge(storage, services)
  // Standard output is for the figures.
  const silent = Logger.layer([])
  return Effect.runPromise(
    Effect.scoped(program).pipe(Effect.provide([Layer.provideMerge(Engine.layer(options), all), silent]))
  )
}

const small = (name: string): Pattern.Shape => ({ name, pieceLength: 16_384, files: 1, fileLength: 16_384 })

/** Downloads a little, so that what is measured after it was compiled. */
const warmUp = Effect.gen(function* () {
  const shape: Pattern.Shape = { name: "warm", pieceLength: 16_384, files: 1, fileLength: 32 * mebibyte }
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape), { peers: yield* seeds(1, shape) })
  yield* torrent.completed
}).pipe(Effect.scoped)

/** Pieces that are downloaded of a torrent that has more. */
const somePieces = 4_000

/** A torrent of COUNT pieces of 16 KiB, of which some are downloaded. */
const pieces = (): Promise<Figures> =>
  run(
    Effect.gen(function* () {
      yield* warmUp
      const shape: Pattern.Shape = { name: "pieces", pieceLength: 16_384, files: 1, fileLength: count * 16_384 }
      const peers = yield* seeds(1, shape)
      const engine = yield* Engine.Engine
      const before = used()
      const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape))
      yield* until(torrent, ({ state }) => state._tag === "Downloading")
      const memory = used() - before
      const begun = cpu()
      yield* torrent.addPeers(peers)
      const wanted = Math.min(count, somePieces)
      yield* until(torrent, ({ storedPieces }) => storedPieces >= wanted)
      return { "us a piece": (cpu() - begun) / wanted, "B a piece": memory / count }
    })
  )

/** COUNT seeds of one torrent. */
const peers = (): Promise<Figures> =>
  run(
    Effect.gen(function* () {
      yield* warmUp
      const shape: Pattern.Shape = { name: "peers", pieceLength: 262_144, files: 1, fileLength: 512 * mebibyte }
      const addresses = yield* seeds(count, shape)
      const engine = yield* Engine.Engine
      const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape), { maxConnections: count })
      yield* until(torrent, ({ state }) => state._tag === "Downloading")
      const peak = watch()
      const begun = cpu()
      yield* torrent.addPeers(addresses)
      yield* torrent.completed
      return { "ms a MiB": (cpu() - begun) / 1_000 / 512, "anonymous MiB": peak() / mebibyte }
    })
  )

/** COUNT peers that let nobody download. */
const idlePeers = (): Promise<Figures> =>
  run(
    Effect.gen(function* () {
      yield* warmUp
      const shape: Pattern.Shape = { name: "idle", pieceLength: 262_144, files: 1, fileLength: 512 * mebibyte }
      const addresses = yield* seeds(count, shape, "silent")
      const engine = yield* Engine.Engine
      const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape), { maxConnections: count })
      yield* until(torrent, ({ state }) => state._tag === "Downloading")
      const before = used()
      yield* torrent.addPeers(addresses)
      yield* until(torrent, ({ connectedPeers }) => connectedPeers >= count)
      const memory = used() - before
      const begun = cpu()
      yield* Effect.sleep("20 seconds")
      return { "kB a peer": memory / 1_000 / count, "ms a minute and peer": ((cpu() - begun) * 3) / 1_000 / count }
    })
  )

/** COUNT torrents that are complete and seed, and that nobody wants. */
const torrents = (): Promise<Figures> =>
  run(
    Effect.gen(function* () {
      yield* warmUp
      const content = Pattern.pieceOf(small(""))
      const shapes = Array.from({ length: count }, (_, index) => small(`torrent ${index}`))
      for (const { name } of shapes) yield* Effect.promise(() => writeFile(path.join(folder, name), content))
      const engine = yield* Engine.Engine
      const before = used()
      const begun = cpu()
      const added: Array<Torrent> = []
      for (const shape of shapes) added.push(yield* engine.add(yield* Pattern.metainfoOf(shape), { seed: true }))
      for (const torrent of added) yield* torrent.completed
      const adding = cpu() - begun
      yield* Effect.sleep("2 seconds")
      const memory = used() - before
      yield* Effect.sleep("10 seconds")
      const [cpuBefore, wakeUpsBefore] = [cpu(), wakeUps()]
      yield* Effect.sleep("30 seconds")
      return {
        "ms to add one": adding / 1_000 / count,
        "kB a torrent": memory / 1_000 / count,
        "ms a minute": ((cpu() - cpuBefore) * 2) / 1_000,
        "wake-ups a minute": (wakeUps() - wakeUpsBefore) * 2
      }
    }),
    { listen: { host: "127.0.0.1", port: 0 } }
  )

/** A torrent of COUNT files of 1,000 bytes. */
const files = (): Promise<Figures> =>
  run(
    Effect.gen(function* () {
      yield* warmUp
      const shape: Pattern.Shape = { name: "files", pieceLength: 262_144, files: count, fileLength: 1_000 }
      const addresses = yield* seeds(1, shape)
      const engine = yield* Engine.Engine
      const before = used()
      const begun = cpu()
      const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape), { peers: addresses, seed: true })
      yield* torrent.completed
      const spent = cpu() - begun
      yield* Effect.sleep("2 seconds")
      return { "us a file": spent / count, "B a file": (used() - before) / count }
    })
  )

/** COUNT peers that download everything. */
const upload = (): Promise<Figures> =>
  run(
    Effect.gen(function* () {
      const shape: Pattern.Shape = { name: "upload", pieceLength: mebibyte, files: 1, fileLength: 128 * mebibyte }
      const piece = Pattern.pieceOf(shape)
      const file = path.join(folder, shape.name)
      for (let index = 0; index < 128; index++) yield* Effect.promise(() => appendFile(file, piece))
      const engine = yield* Engine.Engine
      const options = { seed: true, uploadSlots: Math.max(8, count), maxConnections: Math.max(50, count) }
      const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape), options)
      yield* torrent.completed
      const port = String(engine.listening!.port)
      yield* startPeers("leeches", 4, shape, port)
      const peak = watch()
      const begun = cpu()
      const from = performance.now()
      yield* startPeers("leeches", count, shape, port)
      const seconds = (performance.now() - from) / 1_000
      return {
        "ms a MiB": (cpu() - begun) / 1_000 / (128 * count),
        "anonymous MiB": peak() / mebibyte,
        "MiB/s": (128 * count) / seconds
      }
    }),
    { listen: { host: "127.0.0.1", port: 0 } }
  )

/** A download of a GiB from one peer, whose writes take COUNT ms longer. */
const disk = (): Promise<Figures> => {
  const slow = Layer.effect(
    Storage,
    Effect.map(Storage, (below) => {
      const { faults, storage } = FaultyStorage.make(below)
      if (count > 0) faults.delay("write", count)
      return storage
    })
  ).pipe(Layer.provide(FileSystemStorage.layer({ directory: folder })))
  return run(
    Effect.gen(function* () {
      const shape: Pattern.Shape = { name: "disk", pieceLength: mebibyte, files: 1, fileLength: 1_024 * mebibyte }
      const addresses = yield* seeds(1, shape)
      const engine = yield* Engine.Engine
      const torrent = yield* engine.add(yield* Pattern.metainfoOf(shape))
      yield* until(torrent, ({ state }) => state._tag === "Downloading")
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      const peak = watch()
      const begun = cpu()
      const from = performance.now()
      yield* torrent.addPeers(addresses)
      yield* until(torrent, ({ storedPieces, totalPieces }) => storedPieces === totalPieces)
      const seconds = (performance.now() - from) / 1_000
      delay.disable()
      return {
        "ms a MiB": (cpu() - begun) / 1_000 / 1_024,
        "anonymous MiB": peak() / mebibyte,
        "MiB/s": 1_024 / seconds,
        "ms of delay, p99": delay.percentile(99) / 1_000_000,
        "ms of delay, most": delay.max / 1_000_000
      }
    }),
    {},
    slow
  )
}

const all: Readonly<Record<string, () => Promise<Figures>>> = {
  pieces,
  peers,
  idlePeers,
  torrents,
  files,
  upload,
  disk
}

process.stdin.on("end", () => process.exit(1)).resume()
await mkdir(folder, { recursive: true })
try {
  console.log(JSON.stringify(await all[what]!()))
} finally {
  for (const child of others) child.kill()
}
process.exit()
