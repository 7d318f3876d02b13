/**
 * The architecture rules: which file of `src` may import which. Pure: paths and texts in, violations out.
 *
 * Recognizes imports in statements that begin a line, in `import("...")`, and in `new URL("....ts", import.meta.url)`.
 */
import * as path from "node:path"

/** A file of `src`. */
interface Source {
  /** The path below `src`, with forward slashes. */
  readonly path: string
  readonly lines: ReadonlyArray<string>
  readonly imports: ReadonlyArray<Import>
}

interface Import {
  /** The line on which the statement begins, counted from 1. */
  readonly line: number
  readonly specifier: string
  /** The text between `import` or `export` and `from`; empty for expressions and for side-effect imports. */
  readonly clause: string
  /** The imported file, as a path below `src`; `undefined` for packages. */
  readonly target: string | undefined
}

/** Every file of `src`, by its path below `src`. */
export type House = ReadonlyMap<string, Source>

/** One broken rule, such as `src/wire/FrameDecoder.ts:12 imports ...`. */
export type Violation = string

/**
 * The folders of `src`, from the lowest floor to the highest (docs/architecture.md, "Floors"). A subfolder is on the
 * floor of its folder, unless it is a provider.
 */
const folders: ReadonlyArray<ReadonlyArray<string>> = [
  ["base"],
  ["bencode", "hash", "rate"],
  ["metainfo", "wire"],
  ["network", "storage"],
  ["connect", "discovery", "resume", "supply"],
  ["assembly"],
  ["peer", "webseed"],
  ["swarm"],
  ["torrent"],
  ["telemetry"],
  ["engine"],
  ["session"],
  ["web"],
  ["control"],
  // Shared by the providers of the io-daemon.
  ["io-daemon"],
  ["*/provider"],
  // Whole engines in simulated swarms.
  ["testing"],
  ["cli", "node"],
  // The engine for programs that write promises, over what composes it.
  ["promise"]
]

/** The files that programs start from, or that packages import. */
const entries = ["index.ts", "session/index.ts", "control/index.ts", "control/server/index.ts", "node/main.ts"]

const floorOfFolder = (folder: string): number | undefined => {
  const floor = folders.findIndex((names) => names.includes(folder))
  return floor < 0 ? undefined : floor
}

const programs = floorOfFolder("control")!
const providers = floorOfFolder("*/provider")!

/** Contracts: a tag, its errors, and no I/O. */
const contracts = [
  "control/security/Credentials.ts",
  "discovery/dht/Dht.ts",
  "discovery/dht/DhtStore.ts",
  "discovery/MetadataSource.ts",
  "discovery/PeerSource.ts",
  "discovery/PeerSources.ts",
  "discovery/tracker/Tracker.ts",
  "io-daemon/IoDaemon.ts",
  "hash/PieceHasher.ts",
  "network/Transport.ts",
  "resume/ResumeStore.ts",
  "session/SessionStore.ts",
  "storage/Storage.ts"
]

/** The only files that re-export other modules. */
const indexes = [
  "index.ts",
  "control/index.ts",
  "control/server/index.ts",
  "node/index.ts",
  "node/control/index.ts",
  "node/session/index.ts",
  "session/index.ts",
  "web/index.ts",
  "testing/index.ts",
  "testing/property/index.ts",
  "promise/node/index.ts"
]

/** A file past this holds two nouns. */
const maximumLines = 400

const folderOf = (file: string): string => file.slice(0, Math.max(0, file.indexOf("/")))

const isProvider = (file: string): boolean => file.split("/").slice(1, -1).includes("provider")

/** The floor of a file; `undefined` if its folder has none. */
export const floorOf = (file: string): number | undefined => {
  if (entries.includes(file)) return folders.length
  return isProvider(file) ? providers : floorOfFolder(folderOf(file))
}

// A clause has no slash. A docstring, which may hold an example with imports of its own, has one.
const statement = /^(?:import|export)\b([^"';=/]*?)\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"/gm
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

/** Applies `rule` to each import, and reports the reasons that it returns. */
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
    .map((file) => `src/${file}:1 is in a folder without a floor: add the folder to test/Architecture.ts`)

/** Imports inside `src` name an existing file with its extension, and no index. */
export const paths = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (_, found) => {
    if (/^piecewise(\/|$)/.test(found.specifier)) return "name the file, not the package"
    if (found.target === undefined) return undefined
    if (!found.target.endsWith(".ts")) return "the extension .ts is missing"
    if (!house.has(found.target)) return "there is no such file"
    return indexes.includes(found.target) ? "import the file that is needed, not an index" : undefined
  })

/**
 * Imports go to lower floors or stay in their folder. So no program knows a provider: only edges put one behind a
 * contract. A provider may import what its contract may import, and other providers.
 */
export const directions = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, ({ path: file }, { target }) => {
    const from = floorOf(file)
    const to = target === undefined ? undefined : floorOf(target)
    if (target === undefined || from === undefined || to === undefined) return undefined
    if (folderOf(target) === "testing" && folderOf(file) !== "testing") {
      return "code that is shipped must not depend on test tools"
    }
    if (to > from) return `${placeOf(file)} is a lower floor than ${placeOf(target)}`
    if (isProvider(file) && to <= programs && to > floorOfFolder(folderOf(file))!) {
      return `a provider of ${folderOf(file)} must not import ${folderOf(target)}`
    }
    const isSideways = to === from && from < providers && folderOf(file) !== folderOf(target)
    return isSideways ? `${folderOf(file)} is on the same floor as ${folderOf(target)}` : undefined
  })

/** The place of a file in words. */
const placeOf = (file: string): string =>
  entries.includes(file) ? "an entry" : isProvider(file) ? `a provider of ${folderOf(file)}` : folderOf(file)

/** Providers of two folders need each other in one direction at most. */
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

/** No file imports itself, directly or through others. Type imports count too. */
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
        found.push(`${at(source, line)} closes an import cycle: ${[...circle, next.path].join(" -> ")}`)
      } else visit(next, [...trail, source.path])
    }
    finished.add(source.path)
  }
  for (const source of house.values()) visit(source, [])
  return found
}

/** Whether a file may use what only Node has. `tsconfig.page.json` excludes the same files. */
const isNodeOnly = (file: string): boolean => folderOf(file) === "cli" || file.split("/").includes("node")

/**
 * `node:` modules and `@effect/platform-node` are imported only where Node is certain. Elsewhere the compiler does not
 * know Node's globals.
 */
export const nodeModules = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (source, { specifier, target }) => {
    if (isNodeOnly(source.path)) return undefined
    const isNodes = /^(node:|@effect\/platform-node)/.test(specifier) || (target !== undefined && isNodeOnly(target))
    return isNodes ? "the file must also run in a page" : undefined
  })

/** Files that may read the wall clock, each with the reason. */
const wallClockReaders = [
  // Notes when somebody did something, for people to read.
  "control/server/ActionLog.ts",
  // Says since when a service runs, for people to read.
  "node/NodeService.ts",
  // Replaces the wall clock by elapsed time for those modules of Effect that ask for it.
  "base/Monotonic.ts",
  // Records when the machine started, for a later process to compare. If the clock was set meanwhile, pieces are
  // verified.
  "resume/provider/node/FileResumeStore.ts",
  // Gives dates to clients that show them.
  "control/transmission/TorrentMethods.ts",
  // Note when torrents were added and completed, for people to read.
  "session/Session.ts",
  "session/SessionAttention.ts",
  // Provides the clock that simulations control.
  "testing/Simulation.ts"
]

/** Expressions that read the wall clock. */
const wallClock =
  /\b(currentTime(?:Millis|Nanos)\w*|Date\.now\b|new Date\(\)|Date\(\)|DateTime\.now\w*|Temporal\.Now\b|performance\.timeOrigin\b)/

/** Parts of Effect that measure time by the wall clock. */
const measuresByWallClock =
  /\b(RcMap\.make|RcRef\.make|Pool\.makeWithTTL|Cache\.make\w*|Effect\.cached\w*WithTTL|Schedule\.(?:upTo|during|windowed|fixed|cron|elapsed)|Stream\.(?:timeout\w*|debounce|throttle\w*|groupedWithin|aggregateWithin))\b/

/** No file measures time by the wall clock, which people can set. `base/Monotonic.ts` has the alternative. */
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
          : [`${at(source, index + 1)} uses ${used}: the wall clock can be set at any time`]
      })
    })

export const contractImports = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (source, { specifier }) =>
    contracts.includes(source.path) &&
    /^effect\/(http|socket|net|process|workers|persistence|FileSystem|Terminal)\b|^@effect\//.test(specifier)
      ? "a contract must not do I/O"
      : undefined
  )

/**
 * The functions of `assembly/` modules that other folders may call: those that only read, and those that copy the bytes
 * of a block to their place. All others change the state of pieces, and are called through `Assembly`, `Requests` or
 * `Completion`.
 */
const callable: Readonly<Record<string, RegExp>> = {
  Blame: /^$/,
  BufferPool: /^lentCount$/,
  Distrust: /^$/,
  Eligibility: /^$/,
  Holdings: /^$/,
  // Suppliers write the bytes of a piece.
  PieceBuffer: /^(sizeOf|isBlock|isComplete|beginWrite|write|endWrite)$/,
  PieceOrder: /^$/,
  PiecePicker: /^$/,
  PieceTable: /^(is\w+|stateOf|bytesIn|wantedBytesIn|(stored|wanted|missing)Bytes)$/,
  Urgency: /^$/
}

/** Files that may call more, each with the reason why this changes no piece of the assembly. */
const otherCallers: Readonly<Record<string, string>> = {
  // The pipeline keeps the requests, so it counts them in the buffer.
  "supply/RequestPipeline.ts": "PieceBuffer",
  // Picks pieces to offer, with its own picker.
  "swarm/Spread.ts": "PiecePicker"
}

/** Only `src/assembly` changes the state of pieces. */
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

/** Modules are imported as namespaces. Only types and classes (services, errors) are imported by name. */
export const style = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (_, { clause, specifier, target }) => {
    if (/^effect$/.test(specifier)) return "name the module, as in effect/Effect"
    if (/^(type\s+)?\w+\s*(,|$)/.test(clause) && clause !== "type") return "do not use default imports"
    const names = namesOf(clause)
    if (names === undefined || clause.startsWith("type")) return undefined
    if (target === undefined) return "import it as a namespace: * as Name"
    const bare = names.filter((name) => !capitalized.test(name.replace(/\s+as\s+\w+$/, "")))
    return bare.length > 0 ? `call ${bare.join(", ")} through the namespace of the module` : undefined
  })

/** Only the entries of the package re-export other modules. */
export const reExports = (house: House): ReadonlyArray<Violation> =>
  eachImport(house, (source, { clause, line, target }) =>
    /^(type\s*)?\*/.test(clause) &&
    target !== undefined &&
    source.lines[line - 1]!.startsWith("export") &&
    !indexes.includes(source.path)
      ? "only an entry of the package may re-export modules"
      : undefined
  )

/** How many lines examples in docstrings take, with their fences and the empty line before them. */
const exampleLines = (lines: ReadonlyArray<string>): number => {
  let count = 0
  let isInside = false
  for (const [index, line] of lines.entries()) {
    const isFence = /^\s*\* ```/.test(line)
    if (isFence && !isInside && lines[index - 1]?.trim() === "*") count++
    if (isFence || isInside) count++
    if (isFence) isInside = !isInside
  }
  return count
}

/** A file that is too long probably has two topics. An example in it makes it no harder to read. */
export const sizes = (house: House): ReadonlyArray<Violation> =>
  [...house.values()]
    .filter((source) => source.lines.length - 1 - exampleLines(source.lines) > maximumLines)
    .map((source) => `src/${source.path}:${maximumLines + 1} exceeds ${maximumLines} lines: split it by topic`)
