/** Compares the tables of docs/telemetry.md with the code. */
import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Metric from "effect/Metric"
import * as EngineMetrics from "../../src/telemetry/EngineMetrics.ts"
import * as TorrentLog from "../../src/telemetry/TorrentLog.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"

const root = path.resolve(import.meta.dirname, "..", "..")
const document = readFileSync(path.join(root, "docs", "telemetry.md"), "utf8")

/** The rows of the tables below a heading, cell by cell. */
const rowsOf = (heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const [section = ""] = document.split(new RegExp(`^#+ ${heading}$`, "m"))[1]!.split(/^#+ /m)
  const lines = [...section.matchAll(/^\| (.*) ?\|$/gm)].map(([, line]) => line!)
  return lines.map((line) => line.split(" | ").map((cell) => cell.trim())).filter(([first]) => !/^-+$/.test(first!))
}

const sorted = (rows: ReadonlyArray<ReadonlyArray<string>>) => rows.map((row) => row.join(" | ")).sort()

const describeMetric = ({ description, id, type }: Metric.Metric<never, unknown>) => [
  `\`${id}\``,
  type.toLowerCase(),
  description ?? ""
]

describe("docs/telemetry.md", () => {
  it("lists every metric with its kind and description", () => {
    const all = Object.values(EngineMetrics).filter((value) => Metric.isMetric(value))
    const [, ...documented] = rowsOf("Metrics")
    const metrics = [...all, EngineMetrics.torrents("Complete")].map(describeMetric)

    assert.deepStrictEqual(sorted(documented), sorted(metrics))
    assert.deepStrictEqual(
      sorted(rowsOf("By torrent").slice(1)),
      sorted(Object.values(EngineMetrics.byTorrent).map(describeMetric))
    )
  })

  it("lists the states of a torrent", () => {
    const [, states = ""] = /has the label `state`: ([^.]+)\./.exec(document)!

    assert.deepStrictEqual(
      [...states.matchAll(/`(\w+)`/g)].map(([, state]) => state),
      Object.values(EngineMetrics.stateNames)
    )
  })

  it("lists every span of the sources with its attributes", () => {
    const sources = globSync("src/**/*.ts", { cwd: root }).map((file) => readFileSync(path.join(root, file), "utf8"))
    const named = /\b(?:(?:withSpan|makeSpanScoped|traced)\((?:\s*\w+,)?\s*"([\w.]+)"|Effect\.fn\("([\w.]+)"\))/g
    const found = sources.flatMap((text) => [...text.matchAll(named)].map(([, span, fn]) => span ?? fn!))
    const attributes = new Set(
      sources.flatMap((text) => [...text.matchAll(/"((?:piecewise|server)\.[a-z_]+)"/g)].map(([, name]) => name!))
    )
    const [, ...documented] = rowsOf("Spans")

    assert.deepStrictEqual(documented.map(([name]) => name).sort(), found.map((name) => `\`${name}\``).sort())
    const shown = new Set(
      documented.flatMap(([, , cell = ""]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name))
    )
    for (const name of found) attributes.delete(name)
    assert.deepStrictEqual([...shown].sort(), [...attributes].sort())
  })

  it("lists every log with its level", () => {
    const [, ...documented] = rowsOf("Logs")
    const events = Object.entries(TorrentLog.messages) as ReadonlyArray<[TorrentEvent["_tag"], string]>
    const logs = [
      ...events.map(([kind, message]) => [TorrentLog.levels[kind], message]),
      ["Warn", TorrentLog.lastingMessage],
      ["Info", TorrentLog.added],
      ["Info", TorrentLog.removed]
    ]

    assert.deepStrictEqual(
      sorted(documented.map(([level = "", message = ""]) => [level, message])),
      sorted(logs as ReadonlyArray<ReadonlyArray<string>>)
    )
  })

  it("says how much is logged of what peers cause", () => {
    const [, most, seconds] = /at most (\d+) entries of a kind are logged in (\d+) s/.exec(
      document.replaceAll("\n", " ")
    )!

    assert.deepStrictEqual([Number(most), Number(seconds) * 1_000], [TorrentLog.mostInBurst, TorrentLog.burstMillis])
  })
})
