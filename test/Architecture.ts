/**
 * The rules of the house: which file of `src` may import which. Pure: paths and texts in, broken rules out.
 *
 * Sees what is written as an import: statements that begin a line, `import("...")` and `new URL("....ts", import.meta.url)`.
 */
import * as path from "node:path"

/** A file of `src`. */
interface Source {
  /** Path below `src`, with forward slashes. */
  readonly path: string
  readonly lines: ReadonlyArray<string>
  readonly imports: ReadonlyArray<Import>
}

interface Import {
  /** Counted from 1, of the line the statement begins on. */
  readonly line: number
  readonly specifier: string
  /** What stands between `import` or `export` and `from`; empty for expressions and for side effects. */
  readonly clause: string
  /** The file meant, as a path below `src`; `undefined` for packages. */
  readonly target: string | undefined
}

/** Every file of `src`, by its path below it. */
export type House = ReadonlyMap<string, Source>

/** One broken rule, as `src/wire/FrameDecoder.ts:12 imports ...`. */
export type Violation = string

/**
 * The folders of `src`, from the lowest floor to the highest (docs/architecture.md, "Floors"). A folder below one of them
 * stands where that stands, except providers.
 */
const folders: ReadonlyArray<ReadonlyArray<string>> = [
  ["base"],
  ["bencode", "hash", "rate"],
  ["metainfo", "wire"],
  ["network", "storage"],
  ["connect", "discovery", "resume", "supply"],
  ["assembly"],
  ["peer"],
  ["swarm"],
  ["torrent"],
  ["engine"],
  // What the providers of the io-daemon have in common.
  ["io-daemon"],
  ["*/provider"],
  // Runs whole engines in simulated swarms.
  ["testing"],
  ["cli", "node"]
]

/** What programs start from and packages are imported by. */
const entries = ["index.ts", "node/main.ts"]

const floorOfFolder = (folder: string): number | undefined => {
  const floor = folders.findIndex((names) => names.includes(folder))
  return floor < 0 ? undefined : floor
}

const programs = floorOfFolder("engine")!
const providers = floorOfFolder("*/provider")!

/** Contracts: a tag, its errors, and nothing that does I/O. */
const contracts = [
  "discovery/PeerSource.ts",
  "discovery/PeerSources.ts",
  "discovery/tracker/Tracker.ts",
  "io-daemon/IoDaemon.ts",
  "hash/PieceHasher.ts",
  "network/Transport.ts",
  "resume/ResumeStore.ts",
  "storage/Storage.ts"
]

/** The only files that gather others. */
const indexes = ["index.ts", "node/index.ts", "testing/index.ts"]

/** A file past this holds two nouns. */
const maximumLines = 400

const folderOf = (file: string): string => file.slice(0, Math.max(0, file.indexOf("/")))

const isProvider = (file: string): boolean => file.split("/").slice(1, -1).includes("provider")

/** The floor that a file stands on; `undefined` in a folder that has none yet. */
export const floorOf = (file: string): number | undefined => {
  if (entries.includes(file)) return folders.length
  return isProvider(file) ? providers : floorOfFolder(folderOf(file))
}

const statement = /^(?:import|export)\b([^"';=]*?)\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"/gm
const expression = /^(?!\s*(?:\*|\/)).*?(?:\bimport\(\s*"([^"]+)"|\bnew URL\(\s*"(\.[^"]+\.ts)"\s*,\s*import\.meta)/gm

const importsOf = (file: string, text: string): ReadonlyArray<Import> =>
  [...text.matchAll(statement), ...text.matchAll(expression)].map((match) => {
    const isExpression = match.length === 3
    const specifier = (isExpression ? (match[1] ?? match[2]) : (match[2] ?? match[3]))!
    return {
      line: text.slice(0, match.index).split("\n").length,
      specifier,
      clause: isExpression ? "" : (match[1] ?? "").trim(),
      target: specifier.startsWith(".") ? path.posix.join(path.posix.dirname(file), specifier) : undefined
    }
  })

/** Reads the imports of files given by their path below `src`. */
export const make = (texts: Iterable<readonly [path: string, text: string]>): House =>
  new Map(
    Array.from(texts, ([file, text]) => [file, { path: file, lines: text.split("\n"), imports: importsOf(file, text) }])
  )

const at = (source: Source, line: number): string => `src/${source.path}:${line}`

/** What `rule` says about each import of the house. */
const eachImport = (
  house: House,
  rule: (source: Source, found: Import) => string | undefined
): ReadonlyArray<Violation> =>
  [...house.values()].flatMap((source) =>
    source.imports.flatMap((found) => {
      const why = rule(source, found)
      return why === undefined ? [] : [`${at(source, found.line)} imports ${found.specifier}: ${why}`]
    })
  )

/** Every folder has a floor. */
export const floors = (house: House): ReadonlyArray<Violation> =>
  [...house.keys()]
    .filter((file) => floorOf(file) === undefined)
    .map((file) => `src/${file}:1 is in a folder without a floor: give it one in test/Architecture.ts`)

/** Imports inside `src` name a file that is there, with its extension, and no index. */
export const paths = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (_, found) => {
    if (/^piecewise(\/|$)/.test(found.specifier)) return "name the file, not the package"
    if (found.target === undefined) return undefined
    if (!found.target.endsWith(".ts")) return "the name lacks its extension .ts"
    if (!house.has(found.target)) return "there is no such file"
    return indexes.includes(found.target) ? "name the file that is needed, not an index" : undefined
  })

/**
 * Imports go down or stay in their folder. So no program knows a provider: only edges put one behind a contract. A provider
 * knows what its contract may know, and other providers.
 */
export const directions = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, ({ path: file }, { target }) => {
    const from = floorOf(file)
    const to = target === undefined ? undefined : floorOf(target)
    if (target === undefined || from === undefined || to === undefined) return undefined
    if (folderOf(target) === "testing" && folderOf(file) !== "testing") {
      return "nothing that is shipped depends on its test tools"
    }
    if (to > from) return `${placeOf(file)} is below ${placeOf(target)}`
    if (isProvider(file) && to <= programs && to > floorOfFolder(folderOf(file))!) {
      return `a provider of ${folderOf(file)} does not know ${folderOf(target)}`
    }
    const isSideways = to === from && from < providers && folderOf(file) !== folderOf(target)
    return isSideways ? `${folderOf(file)} stands beside ${folderOf(target)}` : undefined
  })

/** The folder of a file as people name it. */
const placeOf = (file: string): string =>
  entries.includes(file) ? "an entry" : isProvider(file) ? `a provider of ${folderOf(file)}` : folderOf(file)

/** Providers need those of another folder in one direction at most. */
export const neighbours = (house: House): ReadonlyArray<Violation> => {
  const first = new Map<string, string>()
  eachImport(house, (source, { line, target }) => {
    if (target === undefined || !isProvider(source.path) || !isProvider(target)) return undefined
    const key = `${folderOf(source.path)} ${folderOf(target)}`
    if (folderOf(source.path) !== folderOf(target) && !first.has(key)) first.set(key, at(source, line))
    return undefined
  })
  return [...first].flatMap(([key, place]) => {
    const [from, to] = key.split(" ") as [string, string]
    const back = first.get(`${to} ${from}`)
    return back === undefined || from > to ? [] : [`${place} needs ${to}/, and ${back} needs ${from}/`]
  })
}

/** No file reaches itself by following imports, those of types included. */
export const cycles = (house: House): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  const finished = new Set<string>()
  const visit = (source: Source, trail: ReadonlyArray<string>): void => {
    if (finished.has(source.path)) return
    for (const { line, target } of source.imports) {
      const next = target === undefined ? undefined : house.get(target)
      if (next === undefined) continue
      const start = [...trail, source.path].indexOf(next.path)
      if (start >= 0) {
        const circle = [...trail, source.path].slice(start)
        found.push(`${at(source, line)} closes a circle: ${[...circle, next.path].join(" -> ")}`)
      } else visit(next, [...trail, source.path])
    }
    finished.add(source.path)
  }
  for (const source of house.values()) visit(source, [])
  return found
}

/** Whether a file may use what only Node has. `tsconfig.page.json` leaves the same files out. */
const isNodeOnly = (file: string): boolean => folderOf(file) === "cli" || file.split("/").includes("node")

/** `node:` modules and `@effect/platform-node` stay where Node is certain; its globals are unknown to the compiler elsewhere. */
export const nodeModules = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (source, { specifier, target }) => {
    if (isNodeOnly(source.path)) return undefined
    const isNodes = /^(node:|@effect\/platform-node)/.test(specifier) || (target !== undefined && isNodeOnly(target))
    return isNodes ? "it must run in a page" : undefined
  })

/** Files that read the wall clock, and why elapsed time would not do. */
const wallClockReaders = [
  // Stands in for it where elapsed time is handed to those of Effect's modules that ask for the wall clock.
  "base/Monotonic.ts",
  // Dates the start of the machine, for a later process to compare. After a step the two differ: pieces are verified.
  "resume/provider/node/FileResumeStore.ts",
  // Makes the clock that simulations set.
  "testing/Simulation.ts"
]

/** Reads the wall clock by itself. */
const wallClock =
  /\b(currentTime(?:Millis|Nanos)\w*|Date\.now\b|new Date\(\)|Date\(\)|DateTime\.now\w*|Temporal\.Now\b|performance\.timeOrigin\b)/

/** Parts of Effect that measure by the wall clock. */
const measuresByWallClock =
  /\b(RcMap\.make|RcRef\.make|Pool\.makeWithTTL|Cache\.make\w*|Effect\.cached\w*WithTTL|Schedule\.(?:upTo|during|windowed|fixed|cron|elapsed)|Stream\.(?:timeout\w*|debounce|throttle\w*|groupedWithin|aggregateWithin))\b/

/** Nobody measures time by a clock that people set (`base/Monotonic.ts` says what to use). */
export const elapsedTime = (house: House): ReadonlyArray<Violation> =>
  [...house.values()]
    .filter((source) => !wallClockReaders.includes(source.path))
    .flatMap((source) => {
      const keepsTime = source.lines.some((line) => /\bMonotonic\.(clock|schedule)\b/.test(line))
      return source.lines.flatMap((line, index) => {
        if (/^\s*(\*|\/)/.test(line)) return []
        const used = wallClock.exec(line)?.[1] ?? (keepsTime ? undefined : measuresByWallClock.exec(line)?.[1])
        return used === undefined
          ? []
          : [`${at(source, index + 1)} uses ${used}: the wall clock may be set at any time`]
      })
    })

/** Contracts do no I/O. */
export const contractImports = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (source, { specifier }) =>
    contracts.includes(source.path) &&
    /^effect\/(http|socket|net|process|workers|persistence|FileSystem|Terminal)\b|^@effect\//.test(specifier)
      ? "a contract does no I/O"
      : undefined
  )

/**
 * What files outside `assembly/` may call of its parts: what only reads, and what puts the bytes of a block to their place.
 * Everything else changes the state of pieces, and goes through `Assembly`, `Requests` or `Completion`.
 */
const callable: Readonly<Record<string, RegExp>> = {
  Blame: /^$/,
  BufferPool: /^lentCount$/,
  Distrust: /^$/,
  // The bytes of one piece, which suppliers write to.
  PieceBuffer: /^(sizeOf|isBlock|isComplete|beginWrite|write|endWrite)$/,
  PieceOrder: /^$/,
  PiecePicker: /^$/,
  PieceTable: /^(is\w+|stateOf|bytesIn|(stored|wanted|missing)Bytes)$/
}

/** Files that call more, and why that changes no piece of the assembly. */
const otherCallers: Readonly<Record<string, string>> = {
  // Requests are counted where they are kept.
  "supply/RequestPipeline.ts": "PieceBuffer",
  // Picks pieces to offer, with a picker of its own.
  "swarm/SuperSeeding.ts": "PiecePicker"
}

/** The state of pieces has one writer. */
export const oneWriter = (house: House): ReadonlyArray<Violation> =>
  [...house.values()]
    .filter((source) => folderOf(source.path) !== "assembly")
    .flatMap((source) =>
      source.lines.flatMap((line, index) =>
        [...line.matchAll(/(?<![\w./])([A-Z]\w+)\.([a-z]\w*)/g)].flatMap(([, part, called]) =>
          part === undefined ||
          callable[part]?.test(called!) !== false ||
          otherCallers[source.path] === part ||
          !source.imports.some(({ target }) => target === `assembly/${part}.ts` || target === `supply/${part}.ts`)
            ? []
            : [`${at(source, index + 1)} calls ${part}.${called}: only src/assembly changes the state of pieces`]
        )
      )
    )

const capitalized = /^(?:type\s+)?[A-Z]\w*$|^type\s+\w+$/

/** The names between the braces of a clause; `undefined` for `* as X`. */
const namesOf = (clause: string): ReadonlyArray<string> | undefined =>
  /\{([^}]*)\}/
    .exec(clause)?.[1]
    ?.split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "")

/** Modules are imported as namespaces; by name come only types and classes (services, errors). */
export const style = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (_, { clause, specifier, target }) => {
    if (/^effect$/.test(specifier)) return "name the module, as in effect/Effect"
    if (/^(type\s+)?\w+\s*(,|$)/.test(clause) && clause !== "type") return "there are no default imports"
    const names = namesOf(clause)
    if (names === undefined || clause.startsWith("type")) return undefined
    if (target === undefined) return "import it as a namespace: * as Name"
    const bare = names.filter((name) => !capitalized.test(name.replace(/\s+as\s+\w+$/, "")))
    return bare.length > 0 ? `call ${bare.join(", ")} with the module's name in front` : undefined
  })

/** Files that gather others are the three entries of the package. */
export const gatherings = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (source, { clause, line, target }) =>
    /^(type\s*)?\*/.test(clause) &&
    target !== undefined &&
    source.lines[line - 1]!.startsWith("export") &&
    !indexes.includes(source.path)
      ? "only an entry of the package gathers other files"
      : undefined
  )

/** A file holds one idea. */
export const sizes = (house: House): ReadonlyArray<Violation> =>
  [...house.values()]
    .filter((source) => source.lines.length - 1 > maximumLines)
    .map((source) => `src/${source.path}:${maximumLines + 1} goes past ${maximumLines} lines: look for the second noun`)
