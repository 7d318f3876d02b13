/** The table of `npm run bench`. Pure: batches in, Markdown out. */

/** The figures of one run. What a row does not measure is `undefined`. */
export interface Run {
  /** From the first byte that the seeder sent until all pieces were stored. */
  readonly mebibytesPerSecond?: number | undefined
  /** From the start of the process until all pieces were stored, or it had ended. */
  readonly seconds?: number | undefined
  readonly user: number
  readonly kernel: number
  readonly anonymous?: number | undefined
  readonly written?: number | undefined
  readonly writes?: number | undefined
  /** From there until the file system was flushed. */
  readonly flush?: number | undefined
  readonly seederCpu?: number | undefined
}

/** What was measured of each client in each row, and on which machine. */
export interface Batch {
  readonly when: string
  readonly machine: string
  /** By client. */
  readonly versions: Readonly<Record<string, string>>
  readonly seeder: string
  readonly mebibytes: number
  readonly runs: number
  readonly rows: Readonly<Record<string, Readonly<Record<string, ReadonlyArray<Run>>>>>
}

interface Column {
  readonly title: string
  readonly of: (run: Run) => number | undefined
  readonly digits: number
}

const mebibyte = 1_048_576

const cpu = ({ kernel, user }: Run): number => user + kernel

const columns: ReadonlyArray<Column> = [
  { title: "MiB/s from first byte", of: (run) => run.mebibytesPerSecond, digits: 0 },
  { title: "start to complete, s", of: (run) => run.seconds, digits: 2 },
  { title: "CPU s", of: cpu, digits: 2 },
  { title: "user", of: (run) => run.user, digits: 2 },
  { title: "kernel", of: (run) => run.kernel, digits: 2 },
  { title: "anonymous MiB", of: (run) => run.anonymous && run.anonymous / mebibyte, digits: 0 },
  { title: "MiB written to files", of: (run) => run.written && run.written / mebibyte, digits: 0 },
  { title: "writes", of: (run) => run.writes, digits: 0 },
  { title: "flush, s", of: (run) => run.flush, digits: 2 },
  { title: "seeder's CPU s", of: (run) => run.seederCpu, digits: 2 }
]

/** The rows and what they measure. */
export const rows: Readonly<Record<string, (mebibytes: number) => string>> = {
  one: (mebibytes) => `One file of ${mebibytes} MiB, one seeder`,
  many: (mebibytes) => `2,000 files of ${mebibytes / 2} MiB together, one seeder`,
  seeders: (mebibytes) => `One file of ${mebibytes} MiB, 20 seeders`,
  recheck: (mebibytes) => `Verifying a complete file of ${mebibytes} MiB`,
  upload: (mebibytes) => `Uploading ${mebibytes} MiB to a libtorrent downloader`,
  info: () => "Start-up: the facts of a torrent, from a packed install"
}

export const median = (values: ReadonlyArray<number>): number | undefined => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return undefined
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const medianOf = (runs: ReadonlyArray<Run>, of: Column["of"]): number | undefined =>
  median(runs.flatMap((run) => of(run) ?? []))

const table = (head: ReadonlyArray<string>, body: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...body].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

/** The medians of several batches, as `589 / 312 / 470`. */
const cell = (values: ReadonlyArray<number | undefined>, digits: number): string =>
  values.some((value) => value !== undefined) ? values.map((value) => value?.toFixed(digits) ?? "-").join(" / ") : ""

const namesIn = (batches: ReadonlyArray<Batch>, row: string): ReadonlyArray<string> => [
  ...new Set(batches.flatMap((batch) => Object.keys(batch.rows[row] ?? {})))
]

/** What has to be larger, and what smaller, to be ahead. */
const compared: ReadonlyArray<Column> = [
  { title: "MiB/s", of: (run) => run.mebibytesPerSecond, digits: 2 },
  { title: "CPU s", of: cpu, digits: 2 },
  { title: "start to complete", of: (run) => run.seconds, digits: 2 }
]

/** Each figure of piecewise divided by that of another client. */
const ratios = (batches: ReadonlyArray<Batch>, row: string): string => {
  const ours = "piecewise"
  const others = namesIn(batches, row).filter((name) => name !== ours)
  if (!namesIn(batches, row).includes(ours) || others.length === 0) return ""
  const ratio = (batch: Batch, other: string, of: Column["of"]) => {
    const [mine, theirs] = [ours, other].map((name) => medianOf(batch.rows[row]?.[name] ?? [], of))
    return mine === undefined || theirs === undefined || theirs === 0 ? undefined : mine / theirs
  }
  const cells = compared.map(({ digits, of, title }) => ({
    title,
    values: others.map((other) =>
      cell(
        batches.map((batch) => ratio(batch, other, of)),
        digits
      )
    )
  }))
  const shown = cells.filter(({ values }) => values.some((value) => value !== ""))
  const body = others.map((other, index) => [other, ...shown.map(({ values }) => values[index]!)])
  return `\n\n${table(["piecewise to", ...shown.map(({ title }) => title)], body)}`
}

const section = (batches: ReadonlyArray<Batch>, row: string): string => {
  const runs = namesIn(batches, row).flatMap((name) => batches.flatMap((batch) => batch.rows[row]?.[name] ?? []))
  const shown = columns.filter(({ of }) => runs.some((run) => of(run) !== undefined))
  const body = namesIn(batches, row).map((name) => [
    name,
    batches.map((batch) => batch.rows[row]?.[name]?.length ?? 0).join(" / "),
    ...shown.map(({ digits, of }) =>
      cell(
        batches.map((batch) => medianOf(batch.rows[row]?.[name] ?? [], of)),
        digits
      )
    )
  ])
  const head = ["client", "runs", ...shown.map(({ title }) => title)]
  return `### ${rows[row]!(batches[0]!.mebibytes)}\n\n${table(head, body)}${ratios(batches, row)}\n`
}

/** Everything about some batches with the same sizes. Their medians are parted by slashes. */
export const markdown = (batches: ReadonlyArray<Batch>): string => {
  const [first] = batches as [Batch]
  const versions = Object.entries(Object.assign({}, ...batches.map((batch) => batch.versions)))
  const facts = [
    `- Machine: ${[...new Set(batches.map((batch) => batch.machine))].join("; ")}.`,
    `- Versions: ${versions.map(([name, version]) => `${name} ${version}`).join(", ")}. Seeder: libtorrent ${first.seeder}.`,
    `- Batches: ${batches.map((batch) => `${batch.when} UTC, runs of each client: ${batch.runs}`).join("; ")}.`
  ]
  const measured = Object.keys(rows).filter((row) => namesIn(batches, row).length > 0)
  return [`${facts.join("\n")}\n`, ...measured.map((row) => section(batches, row))].join("\n")
}

const measured = ["<!-- measured -->", "<!-- end of measured -->"] as const

/** Puts a text between two marks of a document; by default those of the batches. */
export const insert = (document: string, text: string, [begin, end]: readonly [string, string] = measured): string => {
  const [from, to] = [document.indexOf(begin), document.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the document has no ${begin} ... ${end}`)
  return `${document.slice(0, from + begin.length)}\n\n${text}\n${document.slice(to)}`
}
