/**
 * What a service with many torrents costs: `npm run bench:service`. docs/benchmarks.md says what is measured.
 *
 *   --torrents N   how many torrents; default 5,000
 *   --seconds N    how long it is watched while nobody asks for anything; default 60
 *   --only KIND    `paused` or `seeding` torrents; default both
 *   --write        writes the table into docs/benchmarks.md
 *
 * The service is a process, on loopback; this one is its clients. Needs the space of the torrents (30 MB) and a minute
 * for each kind besides the time that is watched.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import * as Http from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as InfoHash from "../src/base/InfoHash.ts"
import * as NodePieceHasher from "../src/hash/provider/node/NodePieceHasher.ts"
import * as SqliteSessionStore from "../src/session/provider/node/SqliteSessionStore.ts"
import type { StoreChange } from "../src/session/SessionStore.ts"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"
import * as Report from "./bench/report.ts"
import * as Command from "./command.ts"

const { values } = parseArgs({
  options: {
    torrents: { type: "string", default: "5000" },
    seconds: { type: "string", default: "60" },
    only: { type: "string" },
    write: { type: "boolean", default: false }
  }
})
const count = Number(values.torrents)
const seconds = Number(values.seconds)
const kinds = (["paused", "seeding"] as const).filter((kind) => values.only === undefined || values.only === kind)
const marks = ["<!-- service -->", "<!-- end of service -->"] as const

/** How often a request is made, and the first of them that do not count, because what they run is not compiled yet. */
const requests = 200
const deltas = 60
const warmUp = 20

/** Torrents that change between two deltas. */
const changed = 50

/** Clients that follow what happens, and how often something happens for them. */
const listeners = 200
const happenings = 50

/** Bytes of a torrent. */
const torrentBytes = 1_000

/** Those that are paused have them, except the ones that are resumed for listeners, because nobody answers there. */
const trackers = [["http://tracker.example/announce", "http://other.example:8080/announce"]]

let running: ChildProcess | undefined

const stop = (): void => {
  running?.kill()
  process.exitCode = 130
}
process.on("SIGINT", stop)
process.on("SIGTERM", stop)

/** Makes a session of so many torrents in `state`, and the files of complete ones in `downloads`. */
const populate = (state: string, downloads: string, kind: (typeof kinds)[number]) =>
  Effect.gen(function* () {
    const store = yield* SqliteSessionStore.make({ file: path.join(state, "session.db") })
    const changes: Array<StoreChange> = []
    for (let index = 0; index < count; index++) {
      const name = `A film of ${1_900 + (index % 126)}, with a name as long as names are (${index})`
      const files = [{ path: [], length: torrentBytes }]
      const known = yield* KnownTorrent.make({
        name,
        files,
        pieceLength: 16_384,
        seed: index + 1,
        ...(kind === "paused" && index >= happenings && { trackers })
      })
      const { infoHash } = known.metainfo
      if (kind === "seeding") yield* Effect.promise(() => writeFile(path.join(downloads, name), known.fileContent(0)))
      changes.push({
        _tag: "AddTorrent",
        torrent: {
          infoHash,
          name,
          position: index + 1,
          wanted: { _tag: kind === "paused" ? "Paused" : "Running" },
          labels: index % 3 === 0 ? ["films"] : ["films", "new"],
          trackerHosts: kind === "paused" && index >= happenings ? ["tracker.example", "other.example"] : [],
          options: {},
          addedAtMillis: 1_700_000_000_000 + index * 1_000,
          progress: {
            totalBytes: torrentBytes,
            wantedBytes: torrentBytes,
            missingBytes: kind === "paused" ? index % 1_000 : 0
          },
          statistics: { downloadedBytes: index, uploadedBytes: (index * 7_919) % 100_000, seedingMillis: index }
        },
        content: { source: { _tag: "Metainfo", bytes: known.bytes }, files: { renamed: [] } }
      })
    }
    yield* store.commit(changes)
    return changes.flatMap((change) => (change._tag === "AddTorrent" ? [InfoHash.toHex(change.torrent.infoHash)] : []))
  }).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer))

/** A service that runs. */
interface Service {
  readonly child: ChildProcess
  readonly url: string
  readonly startMillis: number
}

const start = async (folder: string): Promise<Service> => {
  const began = performance.now()
  const main = path.join(Command.root, "src", "node", "main.ts")
  const args = ["serve", "downloads", "--state", "state", "--http", "127.0.0.1:0", "--no-dht", "--log-level", "error"]
  const env = { ...process.env, PIECEWISE_OFFLINE: "1", PIECEWISE_BIND: "127.0.0.1" }
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] })
  running = child
  const url = await new Promise<string>((resolve, reject) => {
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      const found = /The service is at (\S+);/.exec(output)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.once("close", () => reject(new Error("the service has ended")))
  })
  return { child, url, startMillis: performance.now() - began }
}

const end = ({ child }: Service): Promise<void> =>
  new Promise((resolve) => {
    child.once("close", () => resolve())
    child.kill()
  })

/** Milliseconds of CPU that a process has used. Linux counts in hundredths of a second. */
const cpuMillis = async ({ child }: Service): Promise<number> => {
  const stat = await readFile(`/proc/${child.pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Anonymous memory of a process, in MiB. */
const anonymousMebibytes = async ({ child }: Service): Promise<number> => {
  const status = await readFile(`/proc/${child.pid}/status`, "utf8")
  return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1]) / 1_024
}

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const agent = new Http.Agent({ keepAlive: true, maxSockets: 8 })

/** Makes a request, and returns the body of the answer, which must be a success. */
const request = (url: URL, token: string, method = "GET", body?: unknown): Promise<string> =>
  new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { "content-type": "application/json" })
    }
    const sent = Http.request(url, { agent, method, headers }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString()
        if (response.statusCode! < 300) resolve(text)
        else reject(new Error(`${method} ${url.pathname}: ${response.statusCode} ${text}`))
      })
    })
    sent.once("error", reject)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })

/** Follows the events until `close`. `count` is how many there were. */
const listen = (url: URL, token: string): Promise<{ readonly count: () => number; readonly close: () => void }> =>
  new Promise((resolve, reject) => {
    let found = 0
    const sent = Http.request(url, { agent: false, headers: { authorization: `Bearer ${token}` } }, (response) => {
      response.setEncoding("utf8").on("data", (text: string) => {
        found += text.split("event: torrent").length - 1
      })
      response.on("error", () => {})
      resolve({ count: () => found, close: () => sent.destroy() })
    })
    sent.once("error", reject)
    sent.end()
  })

const quantile = (sorted: ReadonlyArray<number>, part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!

/** The median, and that which 1 in 100 exceeds, of what `once` takes in milliseconds. */
const timed = async (times: number, once: (turn: number) => Promise<number>): Promise<string> => {
  const millis: Array<number> = []
  for (let turn = -warmUp; turn < times; turn++) {
    const taken = await once(turn + warmUp)
    if (turn >= 0) millis.push(taken)
  }
  millis.sort((one, other) => one - other)
  return `${quantile(millis, 0.5).toFixed(1)} / ${quantile(millis, 0.99).toFixed(1)} ms`
}

const sorts = ["queue", "name", "progress", "ratio", "upload"] as const

type Row = readonly [what: string, figure: string]

const measure = async (kind: (typeof kinds)[number]): Promise<ReadonlyArray<Row>> => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "piecewise-service-"))
  const rows: Array<Row> = []
  const add = (what: string, figure: string): void => {
    console.log(`  ${what}: ${figure}`)
    rows.push([what, figure])
  }
  try {
    const [state, downloads] = [path.join(folder, "state"), path.join(folder, "downloads")]
    await mkdir(state)
    await mkdir(downloads)
    const hashes = await Effect.runPromise(populate(state, downloads, kind))
    const settled = async (service: Service): Promise<string> => {
      const token = (await readFile(path.join(state, "token"), "utf8")).trim()
      if (kind === "paused") return token
      while (true) {
        const { torrents } = JSON.parse(await request(new URL("v1/service", service.url), token))
        if (torrents.seeding === count) return token
        await sleep(250)
      }
    }
    if (kind === "seeding") {
      // The first one verifies the files.
      const first = await start(folder)
      await settled(first)
      await end(first)
    }
    const began = performance.now()
    const service = await start(folder)
    add("start until it can be asked", `${(service.startMillis / 1_000).toFixed(2)} s`)
    const token = await settled(service)
    if (kind === "seeding")
      add("until all seed, without reading a file", `${((performance.now() - began) / 1_000).toFixed(1)} s`)
    const ask = (relative: string, method?: string, body?: unknown) =>
      request(new URL(`v1/${relative}`, service.url), token, method, body)
    await sleep(2_000)
    add("anonymous memory after the start", `${(await anonymousMebibytes(service)).toFixed(0)} MiB`)

    const idle = await cpuMillis(service)
    await sleep(seconds * 1_000)
    const idleMillis = (await cpuMillis(service)) - idle
    add("CPU while nobody asks", `${(idleMillis / seconds / 10).toFixed(2)} % of a core`)

    for (const sort of sorts) {
      const page = await timed(requests, async (turn) => {
        const offset = (turn * 1_009) % Math.max(1, count - 100)
        const before = performance.now()
        await ask(`torrents/?sort=${sort}&offset=${offset}&limit=100`)
        return performance.now() - before
      })
      add(`page of 100 by ${sort}, p50 / p99`, page)
    }
    let { revision } = JSON.parse(await ask("torrents/?limit=1"))
    const delta = await timed(deltas, async (turn) => {
      const own = Array.from({ length: changed }, (_, index) => hashes[(turn * changed + index) % count]!)
      await Promise.all(own.map((hash) => ask(`torrents/${hash}`, "PATCH", { labels: [`turn ${turn}`] })))
      const before = performance.now()
      const text = await ask(`torrents/changes?since=${encodeURIComponent(revision)}`)
      const taken = performance.now() - before
      const found = JSON.parse(text)
      if (found.torrents.length !== changed) throw new Error(`${found.torrents.length} torrents have changed`)
      revision = found.revision
      return taken
    })
    add(`delta of ${changed} torrents, p50 / p99`, delta)
    add("anonymous memory after all that", `${(await anonymousMebibytes(service)).toFixed(0)} MiB`)

    const happen = async () => {
      for (let index = 0; index < happenings; index++) {
        const hash = hashes[index]!
        await ask(
          `torrents/${hash}/${kind === "paused" ? "resume" : "pause"}`,
          "POST",
          kind === "paused" ? {} : undefined
        )
        await ask(
          `torrents/${hash}/${kind === "paused" ? "pause" : "resume"}`,
          "POST",
          kind === "paused" ? undefined : {}
        )
      }
      await sleep(1_000)
    }
    await happen()
    const alone = await cpuMillis(service)
    await happen()
    const without = (await cpuMillis(service)) - alone
    const before = await anonymousMebibytes(service)
    const own = await Promise.all(
      Array.from({ length: listeners }, () => listen(new URL("v1/events", service.url), token))
    )
    await sleep(1_000)
    const held = (await anonymousMebibytes(service)) - before
    const heard = own.map(({ count }) => count())
    const cpu = await cpuMillis(service)
    await happen()
    const withListeners = (await cpuMillis(service)) - cpu
    const events = own.map(({ count }, index) => count() - heard[index]!)
    const total = events.reduce((sum, one) => sum + one, 0)
    if (total === 0) throw new Error("nobody has heard anything")
    add(`${listeners} listeners: memory of each`, `${((held * 1_024) / listeners).toFixed(0)} KiB`)
    add(
      `${listeners} listeners: CPU of an event for each`,
      `${(((withListeners - without) * 1_000) / total).toFixed(0)} us (${total / listeners} events)`
    )
    const quiet = await cpuMillis(service)
    await sleep(10_000)
    add(
      `${listeners} listeners: CPU while nothing happens`,
      `${(((await cpuMillis(service)) - quiet) / 100).toFixed(2)} % of a core`
    )
    for (const { close } of own) close()
    await end(service)
    return rows
  } finally {
    running?.kill("SIGKILL")
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}

const found = new Map<string, Partial<Record<(typeof kinds)[number], string>>>()
for (const kind of kinds) {
  console.log(`${count} torrents, ${kind}`)
  for (const [what, figure] of await measure(kind)) found.set(what, { ...found.get(what), [kind]: figure })
}
const number = count.toLocaleString("en-US")
const lines = Array.from(
  found,
  ([what, figures]) => `| ${what} | ${kinds.map((kind) => figures[kind] ?? "").join(" | ")} |`
)
const head = [`| ${number} torrents | ${kinds.join(" | ")} |`, `| --- | ${kinds.map(() => "---").join(" | ")} |`]
const table = [...head, ...lines].join("\n")
console.log(`\n${table}`)
if (values.write) {
  const document = path.join(Command.root, "docs", "benchmarks.md")
  await writeFile(document, Report.insert(await readFile(document, "utf8"), table, marks))
}
