/**
 * Compares piecewise with other clients on this machine: `npm run bench`, or some rows by name, as `npm run bench --
 * one many`. docs/benchmarks.md says what is measured and how.
 *
 *   --runs N           runs of each client; default 3
 *   --size MIB         the size of the one file, and twice that of the 2,000 files; default 1024
 *   --clients A,B      only these, as `piecewise,aria2`; default all that are installed
 *   --write            writes the table into docs/benchmarks.md
 *   --show N           measures nothing, and shows the last N batches with their medians beside each other
 *
 * Everything stays on loopback. Content, the packed install and the figures of every batch are kept in `.cache/bench`,
 * which needs about three times the size. Every process is ended at the end.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import * as Clients from "./bench/clients.ts"
import * as Content from "./bench/content.ts"
import * as Report from "./bench/report.ts"
import * as Tracker from "./bench/tracker.ts"
import * as Command from "./command.ts"
import { install } from "./package.ts"
import * as Python from "./python.ts"
import * as WebTorrent from "./webtorrent.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "3" },
    size: { type: "string", default: "1024" },
    clients: { type: "string", default: "" },
    write: { type: "boolean", default: false },
    show: { type: "string" }
  }
})
const runs = Number(values.runs)
const mebibytes = Number(values.size)
const document = path.join(Command.root, "docs", "benchmarks.md")
const batches = path.join(Content.cache, "batches")

const say = (text: string): void => console.log(text)

const stop = (why: string): never => {
  console.error(`bench: ${why}`)
  process.exit(2)
}

const unknown = positionals.filter((name) => !Object.hasOwn(Report.rows, name))
if (unknown.length > 0)
  stop(`no row is named ${unknown.join(", ")}; the names are ${Object.keys(Report.rows).join(", ")}`)
const wanted = values.clients === "" ? undefined : new Set(values.clients.split(","))
const keys = new Set(Clients.all.map(({ key }) => key))
const strangers = [...(wanted ?? [])].filter((key) => !keys.has(key))
if (strangers.length > 0) stop(`no client is named ${strangers.join(", ")}; the names are ${[...keys].join(", ")}`)
if (!(runs >= 1 && mebibytes >= 16)) stop("--runs must be at least 1, and --size at least 16")

/** Rows with 20 seeders show what a client does with many peers. */
const seederCounts = { one: 1, many: 1, seeders: 20 }

/** The running processes, each with its exit. */
const children = new Map<ChildProcess, Promise<number | null>>()
let interrupted = false

const start = (command: string, args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): ChildProcess => {
  if (interrupted) throw new Error("interrupted")
  const child = spawn(command, args, {
    cwd: Command.root,
    env: { ...Command.environment, ...env },
    stdio: ["pipe", "pipe", "inherit"],
    // Ctrl-C reaches only this script, which then ends the others.
    detached: true
  })
  const end = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => {
      children.delete(child)
      resolve(code)
    })
  })
  // Whoever started it may not wait for it.
  end.catch(() => {})
  children.set(child, end)
  return child
}

/** The exit code of a process; `null` if a signal ended it. */
const ended = (child: ChildProcess): Promise<number | null> => children.get(child) ?? Promise.resolve(child.exitCode)

/** Runs a program that prints one JSON line. */
const readJson = async <A>(command: string, args: ReadonlyArray<string>, env?: NodeJS.ProcessEnv): Promise<A> => {
  const child = start(command, args, env)
  let output = ""
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    output += text
  })
  const code = await ended(child)
  if (code !== 0) throw new Command.CommandFailed(args[0] ?? command, `ended with ${code}`, output)
  return JSON.parse(output) as A
}

/** The memory to touch before a run, in MiB: what a client, its seeder and the page cache may take. */
const warm = Math.floor(Math.min(3 * mebibytes, os.freemem() / 2 / 1_048_576))

/** What `run.py` prints. */
interface Measured {
  readonly code: number | null
  readonly late: boolean
  readonly start: number
  readonly stored: number | null
  readonly ended: number | null
  readonly flush: number
  readonly user: number
  readonly kernel: number
  readonly anonymous: number
  readonly written: number
  readonly writes: number
  readonly busy: number
  readonly stolen: number
  readonly output: string
}

const run = (what: Clients.Start, folder: string, flushed: string | undefined): Promise<Measured> =>
  readJson(Python.interpreter, [
    path.join(import.meta.dirname, "bench", "run.py"),
    JSON.stringify({ ...what, folder, flush: flushed, warm, timeout: 60 + mebibytes / 4 })
  ])

interface Seeder {
  readonly version: string
  readonly port: number
  readonly hosts: ReadonlyArray<string>
  readonly ask: (command: string) => Promise<{ readonly first: number | null; readonly cpu: number }>
  readonly close: () => Promise<void>
}

const startSeeder = async (content: Content.Content, sessions: number): Promise<Seeder> => {
  const script = path.join(import.meta.dirname, "bench", "seeder.py")
  const child = start(Python.interpreter, [script, content.folder, String(sessions), content.torrent])
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const next = async () => {
    const { done, value } = await lines.next()
    if (done) throw new Error("the seeder ended")
    return JSON.parse(value)
  }
  const { port, version } = await next()
  return {
    version,
    port,
    hosts: Array.from({ length: sessions }, (_, index) => `127.0.0.${index + 1}`),
    ask: (command) => {
      child.stdin!.write(`${command}\n`)
      return next()
    },
    close: async () => {
      const end = ended(child)
      child.stdin!.end()
      await end
    }
  }
}

/** What every row needs. */
interface Context {
  readonly piecewise: string
  readonly clients: ReadonlyArray<Clients.Client>
  readonly seederVersion: (version: string) => void
}

type Runs = Record<string, Array<Report.Run>>

/** Runs every client once in each round, and begins with another one each time. */
const interleave = async (
  clients: ReadonlyArray<Clients.Client>,
  once: (client: Clients.Client) => Promise<Report.Run | undefined>
): Promise<Runs> => {
  const found: Runs = {}
  for (const { name } of clients) found[name] = []
  for (let round = 0; round < runs; round++) {
    for (let turn = 0; turn < clients.length; turn++) {
      const client = clients[(turn + round) % clients.length]!
      const figures = await once(client)
      if (figures !== undefined) found[client.name]!.push(figures)
    }
  }
  return Object.fromEntries(Object.entries(found).filter(([, figures]) => figures.length > 0))
}

const inFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = await mkdtemp(path.join(Content.cache, "run-"))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}

/** Shows a run. `seeder` is the seeder's CPU time, which is not that of others. */
const show = (client: Clients.Client, measured: Measured, more: string, seeder = 0): void =>
  say(
    `  ${client.name.padEnd(28)} ${more}, CPU ${measured.user.toFixed(2)} + ${measured.kernel.toFixed(2)} s; others ` +
      `used ${Math.max(0, measured.busy - seeder).toFixed(1)} s, and ${measured.stolen.toFixed(1)} s were stolen`
  )

const failed = (client: Clients.Client, measured: Measured, why: string): undefined => {
  const last = measured.output.trim().split("\n").slice(-3).join("\n    ")
  say(`  ${client.name.padEnd(28)} FAILED: ${why}\n    ${last}`)
  return undefined
}

const whyFailed = ({ code, late, stored }: Measured): string => (late ? "too late" : `code ${code}, stored ${stored}`)

/** A download row. */
const download = async (context: Context, content: Content.Content, sessions: number): Promise<Runs> => {
  const tracker = await Tracker.start()
  const seeder = await startSeeder(content, sessions)
  context.seederVersion(seeder.version)
  tracker.hosts = seeder.hosts
  tracker.port = seeder.port
  tracker.dial = (port) => void seeder.ask(`dial 127.0.0.1 ${port}`)
  const peers = seeder.hosts.map((host) => `${host}:${seeder.port}`)
  try {
    // A seeder that has not read its files yet is slower.
    await ended(start(process.execPath, [Clients.bareScript, content.plan, "", ...peers]))
    return await interleave(context.clients, (client) =>
      inFolder(async (home) => {
        const folder = path.join(home, "target")
        const announced = path.join(home, "torrents", "announced.torrent")
        for (const made of [folder, path.dirname(announced)]) await mkdir(made)
        await Content.withTracker(content, tracker.url, announced)
        const what = await client.start({ ...context, content, announced, home, folder, peers })
        if (what === undefined) return undefined
        const before = await seeder.ask("arm")
        const measured = await run(what, home, folder)
        const after = await seeder.ask("status")
        const { start, stored } = measured
        if (stored === null || after.first === null) return failed(client, measured, whyFailed(measured))
        const keeps = client.key !== "ceiling"
        const wrong = keeps ? await Content.difference(content, folder) : undefined
        if (wrong !== undefined) return failed(client, measured, `${wrong} differs from the content`)
        const mebibytesPerSecond = content.bytes / 1_048_576 / (stored - after.first)
        const seederCpu = after.cpu - before.cpu
        show(client, measured, `${mebibytesPerSecond.toFixed(0)} MiB/s, ${(stored - start).toFixed(2)} s`, seederCpu)
        return {
          ...measured,
          mebibytesPerSecond,
          seconds: stored - start,
          flush: keeps ? measured.flush : undefined,
          written: keeps ? measured.written : undefined,
          writes: keeps ? measured.writes : undefined,
          seederCpu
        }
      })
    )
  } finally {
    tracker.close()
    await seeder.close()
  }
}

const recheck = (context: Context, content: Content.Content): Promise<Runs> =>
  inFolder(async (copy) => {
    await cp(content.folder, copy, { recursive: true })
    const runsOf = await interleave(context.clients, (client) =>
      inFolder(async (home) => {
        const task = { ...context, content, announced: content.torrent, home, folder: copy, peers: [] }
        const what = await client.start(task)
        if (what === undefined) return undefined
        const measured = await run(what, home, undefined)
        if (measured.stored === null) return failed(client, measured, whyFailed(measured))
        const seconds = measured.stored - measured.start
        show(client, measured, `${seconds.toFixed(2)} s`)
        const { anonymous, kernel, user } = measured
        return { seconds, user, kernel, anonymous }
      })
    )
    const wrong = await Content.difference(content, copy)
    if (wrong !== undefined) throw new Error(`${wrong} was changed by a client that only verified`)
    return runsOf
  })

const upload = (context: Context, content: Content.Content): Promise<Runs> => {
  const able = ["piecewise", "libtorrent", "webtorrent"]
  const script = path.join(import.meta.dirname, "bench", "upload.py")
  const file = path.join(content.folder, content.name)
  return interleave(
    context.clients.filter(({ key }) => able.includes(key)),
    (client) =>
      inFolder(async (home) => {
        const figures = await readJson<{ mebibytes_per_second: number; user: number; kernel: number }>(
          Python.interpreter,
          [script, client.key, content.torrent, file, home, "--webtorrent", WebTorrent.folder, "--warm", String(warm)],
          { PIECEWISE_COMMAND: `'${process.execPath}' '${context.piecewise}'` }
        )
        const { kernel, mebibytes_per_second, user } = figures
        say(`  ${client.name.padEnd(28)} ${mebibytes_per_second.toFixed(0)} MiB/s, CPU ${(user + kernel).toFixed(2)} s`)
        return { mebibytesPerSecond: mebibytes_per_second, user, kernel }
      })
  )
}

/** `piecewise info` beside a Node that does nothing. Each is started ten times a run. */
const info = async (context: Context, content: Content.Content): Promise<Runs> => {
  const starts = 10
  const nothing: Clients.Client = {
    key: "node",
    name: "Node alone",
    find: async () => ({ version: process.versions.node }),
    start: async () => ({ command: [process.execPath, "--eval", "0"] })
  }
  const ours = context.clients.filter(({ key }) => key === "piecewise")
  return interleave([...ours, nothing], (client) =>
    inFolder(async (home) => {
      const command =
        client === nothing
          ? [process.execPath, "--eval", "0"]
          : [process.execPath, context.piecewise, "info", content.torrent]
      const found: Array<Measured> = []
      for (let turn = 0; turn < starts; turn++) {
        const [program, ...args] = command as [string, ...Array<string>]
        const begun = performance.now()
        const child = start(program, args)
        child.stdout!.resume()
        const code = await ended(child)
        if (code !== 0) throw new Command.CommandFailed(command.join(" "), `ended with ${code}`, "")
        found.push({ start: 0, stored: (performance.now() - begun) / 1_000 } as Measured)
      }
      // One more run counts its CPU time and memory.
      const measured = await run({ command }, home, undefined)
      const seconds = Report.median(found.map(({ stored }) => stored!))!
      show(client, measured, `${(seconds * 1_000).toFixed(0)} ms`)
      return { seconds, user: measured.user, kernel: measured.kernel, anonymous: measured.anonymous }
    })
  )
}

const rows: Readonly<Record<string, (context: Context) => Promise<Runs>>> = {
  one: async (context) => download(context, await Content.one(mebibytes), seederCounts.one),
  many: async (context) => download(context, await Content.many(mebibytes / 2), seederCounts.many),
  seeders: async (context) => download(context, await Content.one(mebibytes), seederCounts.seeders),
  recheck: async (context) => recheck(context, await Content.one(mebibytes)),
  upload: async (context) => upload(context, await Content.one(mebibytes)),
  info: async (context) => info(context, await Content.many(mebibytes / 2))
}

const machine = async (): Promise<string> => {
  const [cpu] = os.cpus()
  const [, fileSystem] = (await Command.capture("df", ["--output=fstype", Content.cache])).trim().split("\n")
  const gibibytes = (os.totalmem() / 1_073_741_824).toFixed(0)
  return `${cpu?.model.trim()}, ${os.cpus().length} cores, ${gibibytes} GiB, Linux ${os.release()}, ${fileSystem}`
}

const savedBatches = async (count: number): Promise<ReadonlyArray<Report.Batch>> => {
  const names = (await readdir(batches).catch(() => [])).sort().slice(-count)
  const found = names.map(async (name) => JSON.parse(await readFile(path.join(batches, name), "utf8")) as Report.Batch)
  return Promise.all(found)
}

const publish = async (shown: ReadonlyArray<Report.Batch>): Promise<void> => {
  const text = Report.markdown(shown)
  say(`\n${text}`)
  if (!values.write) return
  await writeFile(document, Report.insert(await readFile(document, "utf8"), text))
  say("Written to docs/benchmarks.md.")
}

const measure = async (): Promise<void> => {
  const why = await Python.missing()
  if (why !== undefined) stop(`the seeder is libtorrent's Python module, and ${why}`)
  await Python.prepare()
  await mkdir(batches, { recursive: true })
  // What a benchmark left that was killed.
  for (const name of await readdir(Content.cache)) {
    if (name.startsWith("run-")) await rm(path.join(Content.cache, name), { recursive: true, force: true })
  }
  say("Building and installing the package.")
  const piecewise = await install(path.join(Content.cache, "package"))

  const clients: Array<Clients.Client> = []
  const versions: Record<string, string> = {}
  for (const client of Clients.all) {
    if (wanted !== undefined && !wanted.has(client.key)) continue
    const found = await client.find({ piecewise })
    if ("missing" in found) {
      say(`Without ${client.name}: ${found.missing}.`)
      continue
    }
    clients.push(client)
    versions[client.name] = found.version
  }
  if (clients.length === 0) stop("no client is left")

  let seeder = ""
  const context: Context = {
    piecewise,
    clients,
    seederVersion: (version) => {
      seeder = version
    }
  }
  const measured: Record<string, Runs> = {}
  const when = new Date().toISOString().slice(0, 16).replace("T", " ")
  for (const [name, row] of Object.entries(rows)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue
    say(`\n${Report.rows[name]!(mebibytes)}`)
    measured[name] = await row(context)
  }
  const batch: Report.Batch = { when, machine: await machine(), versions, seeder, mebibytes, runs, rows: measured }
  await writeFile(path.join(batches, `${when.replaceAll(/\D/g, "-")}.json`), JSON.stringify(batch))
  await publish([batch])
}

const interrupt = (): void => {
  interrupted = true
  for (const child of children.keys()) child.kill("SIGTERM")
}
process.on("SIGINT", interrupt)
process.on("SIGTERM", interrupt)

try {
  if (values.show === undefined) await measure()
  else {
    const found = await savedBatches(Number(values.show))
    if (found.length === 0) stop("no batch was measured yet")
    if (new Set(found.map((batch) => batch.mebibytes)).size > 1) stop("these batches differ in their --size")
    await publish(found)
  }
} catch (error) {
  if (interrupted) process.exitCode = 130
  else if (error instanceof Command.CommandFailed) {
    console.error(`${error.output}bench: ${error.message}`)
    process.exitCode = 1
  } else throw error
} finally {
  for (const child of children.keys()) child.kill("SIGTERM")
}
