/**
 * The rules for the Rust modules of the io-daemon: which module may use which. Pure: paths and texts in, violations
 * out.
 *
 * Finds paths that begin with `crate`, `super`, `self` or the name of a child module, and in `main.rs` those that begin
 * with the name of the library. They may stand anywhere, also in brace groups. Comments and literals are skipped. A
 * module inside a file counts as part of the file. A re-exported item counts as an item of the module that re-exports
 * it.
 */

/** A module with its own file. */
interface Module {
  /** The path below `src`, with forward slashes. */
  readonly file: string
  /** The names of the path from the crate's root; empty for `lib.rs`. */
  readonly names: ReadonlyArray<string>
  readonly uses: ReadonlyArray<Use>
}

interface Use {
  /** The line, counted from 1. */
  readonly line: number
  /** The path as written, with the prefix of its brace group. */
  readonly path: string
  /** The key of the module that the path leads to. */
  readonly target: string
  /** Whether it is compiled only for tests. */
  readonly isInTests: boolean
}

/** Every module by its path in the crate, such as `disk::root`; `lib` for the root. */
export type House = ReadonlyMap<string, Module>

/** One broken rule, such as `native-host/io-daemon/src/disk/root.rs:12 uses ...`. */
export type Violation = string

/**
 * The floor of each top-level folder or file of the crate. A module uses lower floors. Only the small modules on the
 * lowest floor use each other.
 */
const floorOfModule: Readonly<Record<string, number>> = {
  config: 0,
  counters: 0,
  descriptors: 0,
  error: 0,
  lifetime: 0,
  linger: 0,
  mutex: 0,
  pool: 0,
  seats: 0,
  token: 0,
  disk: 1,
  sockets: 1,
  state: 2,
  access: 3,
  routes: 3,
  lib: 4,
  serve: 4,
  main: 5
}

const small = 0

/** The name of the library in `main.rs`, which is a separate crate. */
const library = "piecewise_io_daemon"

const keyOf = (names: ReadonlyArray<string>): string => (names.length === 0 ? "lib" : names.join("::"))

const namesOf = (file: string): ReadonlyArray<string> =>
  file === "lib.rs" ? [] : file.replace(/(\/mod)?\.rs$/, "").split("/")

/** The top-level folder or file of a module, as in the table of floors. */
const topOf = (module: Module): string => module.names[0] ?? "lib"

const skipped =
  /\/\/.*|\/\*[\s\S]*?\*\/|b?r(#*)"[\s\S]*?"\1|b?"(?:\\[\s\S]|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'/g

/** States who may use an item, not what the module uses: `pub(in crate::disk)`. */
const visibility = /\bpub\s*\([^)]*\)/g

/** The code without comments and literals. All lines keep their numbers. */
const codeOf = (text: string): string =>
  text.replace(skipped, (match) => match.replace(/[^\n]/g, " ")).replace(visibility, "pub")

interface Token {
  readonly text: string
  readonly line: number
}

const tokensOf = (code: string): ReadonlyArray<Token> =>
  code
    .split("\n")
    .flatMap((line, index) =>
      Array.from(line.matchAll(/[A-Za-z_]\w*|::|[^\s\w]/g), ([text]) => ({ text, line: index + 1 }))
    )

const isName = (text: string | undefined): text is string => text !== undefined && /^[A-Za-z_]/.test(text)

interface Written {
  readonly line: number
  readonly names: ReadonlyArray<string>
  /** The names of the inline modules that contain the path, outermost first. */
  readonly inner: ReadonlyArray<string>
  readonly isInTests: boolean
}

const onlyInTests = /#\s*\[\s*cfg\s*\(\s*test\s*\)\s*\]\s*(?:#\s*\[[^\]]*\]\s*)*(?:pub\s*)?mod\s*$/

/** Every path in a file, with brace groups resolved. */
const pathsOf = (text: string): ReadonlyArray<Written> => {
  const tokens = tokensOf(codeOf(text))
  const found: Array<Written> = []
  const scopes: Array<{ readonly name: string; readonly depth: number; readonly isTests: boolean }> = []
  let depth = 0
  let at = 0
  const read = (prefix: ReadonlyArray<string>): void => {
    const line = tokens[at]!.line
    const names = [...prefix]
    while (isName(tokens[at]?.text)) {
      names.push(tokens[at++]!.text)
      if (tokens[at]?.text !== "::") break
      at += 1
    }
    if (tokens[at]?.text === "*" && tokens[at - 1]?.text === "::") at += 1
    if (tokens[at]?.text === "{" && tokens[at - 1]?.text === "::") {
      at += 1
      while (at < tokens.length && tokens[at]!.text !== "}") {
        if (isName(tokens[at]!.text)) {
          read(names)
          if (tokens[at]?.text === "as") at += 2
        } else {
          if (tokens[at]!.text === "*") record(tokens[at]!.line, names)
          at += 1
        }
      }
      at += 1
    } else record(line, names)
  }
  const record = (line: number, names: ReadonlyArray<string>): void => {
    found.push({
      line,
      names,
      inner: scopes.map(({ name }) => name),
      isInTests: scopes.some(({ isTests }) => isTests)
    })
  }
  while (at < tokens.length) {
    const { text: token } = tokens[at]!
    if (token === "mod" && isName(tokens[at + 1]?.text) && tokens[at + 2]?.text === "{") {
      const before = tokens
        .slice(Math.max(0, at - 40), at + 1)
        .map(({ text }) => text)
        .join(" ")
      depth += 1
      scopes.push({ name: tokens[at + 1]!.text, depth, isTests: onlyInTests.test(before) })
      at += 3
    } else if (isName(token)) read([])
    else {
      if (token === "{") depth += 1
      if (token === "}") {
        if (scopes.at(-1)?.depth === depth) scopes.pop()
        depth -= 1
      }
      at += 1
    }
  }
  return found
}

/** The names of a path from the crate's root; `undefined` for other crates and local names. */
const resolve = (
  module: ReadonlyArray<string>,
  { names, inner }: Written,
  isModule: (names: ReadonlyArray<string>) => boolean
): ReadonlyArray<string> | undefined => {
  const [first, ...rest] = names
  if (first === "crate") return rest
  if (first === library && module[0] === "main") return rest
  if (first === "self" && rest.length > 0) return [...module, ...inner, ...rest]
  if (first === "super") {
    const ups = names.findIndex((name) => name !== "super")
    const count = ups < 0 ? names.length : ups
    const scope = [...module, ...inner]
    return [...scope.slice(0, Math.max(0, scope.length - count)), ...names.slice(count)]
  }
  return rest.length > 0 && module[0] !== "main" && isModule([...module, first!]) ? [...module, ...names] : undefined
}

/** Reads the modules of the given files. Paths are below `src`. */
export const make = (texts: Iterable<readonly [path: string, text: string]>): House => {
  const files = Array.from(texts, ([file, text]) => ({ file, text, names: namesOf(file) }))
  const known = new Set(files.map(({ names }) => keyOf(names)))
  const isModule = (names: ReadonlyArray<string>) => known.has(keyOf(names))
  return new Map(
    files.map(({ file, text, names }) => {
      const uses = pathsOf(text).flatMap((written) => {
        const meant = resolve(names, written, isModule)
        if (meant === undefined) return []
        let length = meant.length
        while (length > 0 && !isModule(meant.slice(0, length))) length -= 1
        const { line, isInTests } = written
        const target = keyOf(meant.slice(0, length))
        return target === keyOf(names) ? [] : [{ line, path: written.names.join("::"), target, isInTests }]
      })
      return [keyOf(names), { file, names, uses }]
    })
  )
}

/** The floor of a module; `undefined` if the table does not contain it. */
export const floorOf = (house: House, key: string): number | undefined => {
  const module = house.get(key)
  return module === undefined ? undefined : floorOfModule[topOf(module)]
}

const at = (module: Module, line: number): string => `native-host/io-daemon/src/${module.file}:${line}`

/** Every top-level folder and file except `lib.rs` has a floor. */
export const floors = (house: House): ReadonlyArray<Violation> =>
  [...house.values()]
    .filter((module) => floorOfModule[topOf(module)] === undefined)
    .map((module) => `${at(module, 1)} is in ${topOf(module)}, which has no floor in test/RustArchitecture.ts`)

/** Modules use lower floors, also in tests. On the same floor, only the small modules may use each other. */
export const directions = (house: House): ReadonlyArray<Violation> =>
  [...house.values()].flatMap((module) =>
    module.uses.flatMap(({ line, path, target }) => {
      const [from, to] = [topOf(module), topOf(house.get(target) ?? module)]
      const [floor, other] = [floorOfModule[from], floorOfModule[to]]
      if (from === to || floor === undefined || other === undefined) return []
      if (other < floor || (other === floor && floor === small)) return []
      const why = other > floor ? `${from} is below ${to}` : `${from} and ${to} must not use each other`
      return [`${at(module, line)} uses ${path}: ${why}`]
    })
  )

/** No module uses itself, directly or through others. Tests may use modules that use theirs. */
export const cycles = (house: House): ReadonlyArray<Violation> => {
  const found = new Set<Violation>()
  const finished = new Set<string>()
  const visit = (key: string, trail: ReadonlyArray<string>): void => {
    if (finished.has(key)) return
    const module = house.get(key)!
    const here = [...trail, key]
    const seen = new Set<string>()
    for (const { line, target, isInTests } of module.uses) {
      if (isInTests || seen.has(target) || !house.has(target)) continue
      seen.add(target)
      const start = here.indexOf(target)
      if (start >= 0) found.add(`${at(module, line)} closes a cycle: ${[...here.slice(start), target].join(" -> ")}`)
      else visit(target, here)
    }
    finished.add(key)
  }
  for (const key of house.keys()) visit(key, [])
  return [...found]
}
