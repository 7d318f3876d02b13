/**
 * What a unit costs as there are more of them: `npm run bench:growth`, or some rows by name, as `npm run bench:growth --
 * pieces peers`. docs/benchmarks.md says what is measured.
 *
 *   --runs N    measures everything N times, one after the other, and takes medians; default 1
 *   --most N    leaves out counts above N
 *   --write     writes the table into docs/benchmarks.md
 *
 * Each figure is measured in a process of its own (`growth/measure.ts`), on loopback. The largest counts need 2 GiB of
 * disk and a few minutes.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { text } from "node:stream/consumers"
import { parseArgs } from "node:util"
import * as Report from "./bench/report.ts"
import * as Command from "./command.ts"

/** What grows, and how far. */
const rows: Readonly<Record<string, { readonly title: string; readonly counts: ReadonlyArray<number> }>> = {
  pieces: { title: "pieces of a torrent", counts: [1_000, 10_000, 100_000, 1_000_000] },
  peers: { title: "seeds of a torrent that is downloaded", counts: [1, 20, 100, 500] },
  idlePeers: { title: "peers that let nobody download", counts: [20, 100, 500] },
  torrents: { title: "complete torrents that nobody wants", counts: [1, 100, 1_000, 5_000] },
  files: { title: "files of 1,000 bytes", counts: [1_000, 10_000, 100_000, 300_000] },
  upload: { title: "peers that download everything", counts: [1, 5, 30] },
  disk: { title: "ms that a write takes longer", counts: [0, 50] }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "1" },
    most: { type: "string" },
    write: { type: "boolean", default: false }
  }
})
const runs = Number(values.runs)
const most = Number(values.most ?? Number.POSITIVE_INFINITY)
const unknown = positionals.filter((name) => !Object.hasOwn(rows, name))

const problem = (): string | undefined => {
  if (!Number.isInteger(runs) || runs < 1 || Number.isNaN(most)) return "--runs and --most need a number"
  // Rows that are left out would be gone from the document.
  if (values.write && (positionals.length > 0 || values.most !== undefined)) return "--write needs all rows and counts"
  if (unknown.length === 0) return undefined
  return `no row is named ${unknown.join(", ")}; the names are ${Object.keys(rows).join(", ")}`
}
const why = problem()
if (why !== undefined) {
  console.error(why)
  process.exit(2)
}
const marks = ["<!-- growth -->", "<!-- end of growth -->"] as const

let running: ChildProcess | undefined

const stop = (): void => {
  running?.kill()
  process.exitCode = 130
}
process.on("SIGINT", stop)
process.on("SIGTERM", stop)

const measure = async (name: string, count: number): Promise<Readonly<Record<string, number>>> => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "piecewise-growth-"))
  try {
    const script = path.join(import.meta.dirname, "growth", "measure.ts")
    const args = ["--expose-gc", script, name, String(count), folder]
    // It ends when its standard input closes, also if this process is killed.
    const child = spawn(process.execPath, args, {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, PIECEWISE_OFFLINE: "1" }
    })
    running = child
    const output = await text(child.stdout)
    if (output === "") throw new Error(`${name} ${count} could not be measured`)
    return JSON.parse(output)
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}

const number = (value: number): string =>
  value.toLocaleString("en-US", Math.abs(value) >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 2 })

const measured: Record<string, Array<Array<Readonly<Record<string, number>>>>> = {}
for (let turn = 0; turn < runs; turn++) {
  for (const [name, { counts, title }] of Object.entries(rows)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue
    console.log(title)
    for (const [index, count] of counts.filter((count) => count <= most).entries()) {
      const figures = await measure(name, count)
      measured[name] ??= []
      measured[name][index] ??= []
      measured[name][index].push(figures)
      const shown = Object.entries(figures).map(([figure, value]) => `${number(value)} ${figure}`)
      console.log(`  ${number(count).padStart(9)}: ${shown.join(", ")}`)
    }
  }
}

const lines = Object.entries(measured).flatMap(([name, found]) => {
  const { counts, title } = rows[name]!
  const grows = `${title}: ${counts.slice(0, found.length).map(number).join(" / ")}`
  return Object.keys(found[0]![0]!).map((figure, index) => {
    const medians = found.map((runs) => number(Report.median(runs.map((run) => run[figure]!))!))
    return `| ${index === 0 ? grows : ""} | ${figure} | ${medians.join(" / ")} |`
  })
})
const table = ["| what grows | measured | at each |", "| --- | --- | --- |", ...lines].join("\n")
console.log(`\n${table}`)
if (values.write) {
  const document = path.join(Command.root, "docs", "benchmarks.md")
  await writeFile(document, Report.insert(await readFile(document, "utf8"), table, marks))
}
