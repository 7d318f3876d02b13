/**
 * Lists what the package exports that is or returns an effect, a stream, a layer or the like, with its error type and
 * the services that it needs, as the compiler knows them. `test/PublicEffects.test.ts` compares the list with a record.
 *
 * Needs the API of TypeScript, which version 7 does not have yet.
 */
import * as path from "node:path"
import ts from "typescript"

/** Where the types of a kind are among its type arguments: what it yields, how it fails, and what it needs. */
interface Places {
  readonly yields: number
  readonly fails: number
  readonly needs: number
}

const like = { yields: 0, fails: 1, needs: 2 }

/** The types of Effect that can fail or need something, by their names. */
const kinds: Readonly<Record<string, Places>> = {
  Effect: like,
  Stream: like,
  Layer: like,
  Sink: { yields: 0, fails: 3, needs: 4 },
  Channel: { yields: 0, fails: 1, needs: 6 },
  Schedule: { yields: 0, fails: 2, needs: 3 }
}

/** Something public with an error type. */
export interface PublicEffect {
  /** Its path from the entry point, `()` for a call: `Engine.Engine.add()`. */
  readonly name: string
  /** The name of its type, such as `Effect`. */
  readonly kind: string
  /** The members of its types, sorted; `never` is none. `yields` is only known of layers. */
  readonly yields: ReadonlyArray<string> | undefined
  readonly fails: ReadonlyArray<string>
  readonly needs: ReadonlyArray<string>
}

/** `Engine.Engine.add(): Effect<_, AlreadyAdded | OnlyV2, R | Scope>`. */
export const format = ({ fails, kind, name, needs, yields }: PublicEffect): string =>
  `${name}: ${kind}<${yields === undefined ? "_" : union(yields)}, ${union(fails)}, ${union(needs)}>`

const union = (members: ReadonlyArray<string>): string => (members.length === 0 ? "never" : members.join(" | "))

/** A module that an entry point exports as a namespace, or what it exports without one. */
interface Module {
  /** What the names begin with: `Engine.`, or nothing. */
  readonly name: string
  readonly exports: ReadonlyArray<ts.Symbol>
}

/** Reads `tsconfig.json` in the folder `root`. */
const makeProgram = (root: string, entries: ReadonlyArray<string>): ts.Program => {
  const file = path.join(root, "tsconfig.json")
  const { config } = ts.readConfigFile(file, ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root, file)
  return ts.createProgram(
    entries.map((entry) => path.join(root, entry)),
    options
  )
}

/**
 * The public effects of each entry point, by its path in `root`. What several export is listed under the first. Throws
 * if an entry point is missing.
 */
export const list = (
  root: string,
  entries: ReadonlyArray<string>
): ReadonlyMap<string, ReadonlyArray<PublicEffect>> => {
  const program = makeProgram(root, entries)
  const checker = program.getTypeChecker()
  const seen = new Set<ts.Symbol>()
  const modules = new Map(
    entries.map((entry) => {
      const source = program.getSourceFile(path.join(root, entry))
      if (source === undefined) throw new Error(`there is no ${entry}`)
      const exports = checker.getExportsOfModule(checker.getSymbolAtLocation(source)!).map((exported) => ({
        name: exported.name,
        symbol: resolve(checker)(exported)
      }))
      const fresh = exports.filter(({ symbol }) => !seen.has(symbol))
      for (const { symbol } of fresh) seen.add(symbol)
      const isModule = ({ symbol }: (typeof fresh)[number]) => (symbol.flags & ts.SymbolFlags.ValueModule) !== 0
      const found: ReadonlyArray<Module> = [
        { name: "", exports: fresh.filter((one) => !isModule(one)).map(({ symbol }) => symbol) },
        ...fresh.filter(isModule).map(({ name, symbol }) => ({
          name: `${name}.`,
          exports: checker.getExportsOfModule(symbol).map(resolve(checker))
        }))
      ]
      return [entry, found]
    })
  )
  const walk = makeWalk(
    checker,
    path.join(root, "src"),
    new Set([...modules.values()].flat().flatMap((m) => m.exports))
  )
  return new Map([...modules].map(([entry, found]) => [entry, found.flatMap(walk)]))
}

const resolve =
  (checker: ts.TypeChecker) =>
  (symbol: ts.Symbol): ts.Symbol =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol

const makeWalk = (checker: ts.TypeChecker, sources: string, exported: ReadonlySet<ts.Symbol>) => {
  const isOurs = (symbol: ts.Symbol | undefined): boolean =>
    symbol?.declarations?.some((one) => path.normalize(one.getSourceFile().fileName).startsWith(sources)) ?? false

  const membersOf = (type: ts.Type): ReadonlyArray<string> =>
    (type.isUnion() ? type.types : [type])
      .filter((member) => !(member.flags & ts.TypeFlags.Never))
      .map(show)
      .sort()

  /** The text of a type. Members of unions are sorted, because the compiler's order depends on what it saw first. */
  const show = (type: ts.Type): string =>
    type.aliasSymbol === undefined || type.aliasTypeArguments === undefined
      ? checker.typeToString(type, undefined, ts.TypeFormatFlags.NoTruncation)
      : `${type.aliasSymbol.name}<${type.aliasTypeArguments.map((argument) => union(membersOf(argument))).join(", ")}>`

  const argumentsOf = (type: ts.Type): ReadonlyArray<ts.Type> =>
    (type as ts.ObjectType).objectFlags & ts.ObjectFlags.Reference
      ? checker.getTypeArguments(type as ts.TypeReference)
      : (type.aliasTypeArguments ?? [])

  /** What a service offers; `undefined` for all that is no class of a service. */
  const offeredBy = (type: ts.Type): ts.Type | undefined => {
    const shape = type.getProperty("Service")
    return shape === undefined || type.getProperty("Identifier") === undefined || isOurs(shape)
      ? undefined
      : checker.getTypeOfSymbol(shape)
  }

  /** Types that are listed under a name of their own. */
  const listed = new Set<ts.Type>()
  for (const symbol of exported) {
    if (symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class | ts.SymbolFlags.TypeAlias)) {
      listed.add(checker.getDeclaredTypeOfSymbol(symbol))
    }
    const offered = symbol.flags & ts.SymbolFlags.Value ? offeredBy(checker.getTypeOfSymbol(symbol)) : undefined
    if (offered !== undefined) listed.add(offered)
  }
  /** One with arguments of its own, such as `Case<Storage>`, says more than the type that is listed. */
  const isListed = (type: ts.Type): boolean =>
    listed.has(type) ||
    (argumentsOf(type).length === 0 &&
      [type.aliasSymbol, type.symbol].some((symbol) => symbol !== undefined && exported.has(symbol)))

  return (module: Module): ReadonlyArray<PublicEffect> => {
    const found: Array<PublicEffect> = []
    /** Types that are being visited: they may contain themselves. */
    const within = new Set<ts.Type>()

    const visit = (name: string, type: ts.Type, isRoot = false): void => {
      if (within.has(type) || (!isRoot && isListed(type))) return
      within.add(type)
      look(name, type)
      within.delete(type)
    }
    const look = (name: string, type: ts.Type): void => {
      if (type.isUnionOrIntersection()) {
        for (const member of type.types) visit(name, member)
        return
      }
      const places = isOurs(type.symbol) ? undefined : kinds[type.symbol?.name ?? ""]
      if (places !== undefined && argumentsOf(type).length > places.needs) return note(name, type, places)
      for (const signature of type.getCallSignatures()) visit(`${name}()`, signature.getReturnType())
      if (!isOurs(type.symbol)) for (const argument of argumentsOf(type)) visit(name, argument)
      for (const member of type.getProperties()) {
        if (isOurs(member)) visit(`${name}.${member.name}`, checker.getTypeOfSymbol(member))
      }
    }
    const note = (name: string, type: ts.Type, { fails, needs, yields }: Places): void => {
      const types = argumentsOf(type)
      const kind = type.symbol.name
      found.push({
        name,
        kind,
        yields: kind === "Layer" ? membersOf(types[yields]!) : undefined,
        fails: membersOf(types[fails]!),
        needs: membersOf(types[needs]!)
      })
      visit(name, types[yields]!)
    }

    for (const symbol of module.exports) {
      const name = `${module.name}${symbol.name}`
      const value = symbol.flags & ts.SymbolFlags.Value ? checker.getTypeOfSymbol(symbol) : undefined
      const offered = value && offeredBy(value)
      if (value !== undefined && offered === undefined) visit(name, value, true)
      if (offered !== undefined) visit(name, offered, true)
      else if (symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias)) {
        visit(name, checker.getDeclaredTypeOfSymbol(symbol), true)
      }
    }
    return found
  }
}
