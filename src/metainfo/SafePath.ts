/**
 * Makes the file names of a torrent, which a stranger wrote, safe to create: always below the download folder, never
 * two names for the same file. Pure: the same torrent has the same names on every machine, so data can be moved and
 * resumed. Touches no disk; the storage handles links that exist there.
 *
 * A component keeps every character that a file system can hold (`#`, `?`, `a:b`, blanks, any script), because other
 * clients keep them too. These are changed:
 *
 * - `/` and `\` inside a component: dropped. `.`, `..` and what is left empty: dropped too, or `_` as the first or last
 *   component; a component that was empty from the start becomes `_`
 * - control characters, NUL, line separators and bytes that are not UTF-8: `_`
 * - marks that change the direction of text or take no room (`exe.txt` disguised): dropped. The two joiners that
 *   Persian, Indic scripts and emoji need are kept between characters that are not Latin
 * - a component over 255 bytes of UTF-8: its stem is cut, its extension kept
 * - the name of the folder that piecewise keeps for itself (`ReservedName.ts`): gets a `_` in front
 * - with `platform: "windows"` also: `< > : " | ? *` become `_`, dots and blanks at the end go, and device names
 *   (`CON`, `nul.txt`) get a `_` in front
 *
 * Not every file system can hold such names beside each other, and some ignore case or composition (NFC). So a file has
 * up to three names; the storage decides on the disk which it uses (`storage/provider/node/FileNames.ts`):
 *
 * - `path`, if the file system distinguishes the names. Files of exactly the same path, and files named exactly like a
 *   folder of another one, get `.1`, `.2`, ... before their extension. The first of them keeps its name
 * - `portable`, if it differs: the name by Windows' rules, with such a number if it differs from another only by what
 *   some file systems ignore. A file whose name is already portable comes before those whose names are not
 * - `original`, if it differs: the name as the torrent has it, for finding files that a user shares. Never created
 *
 * Errors are for what no honest torrent does.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as ReservedName from "./ReservedName.ts"

/** The platform whose rules names must meet. `posix` serves Linux and macOS. */
export type Platform = "posix" | "windows"

/** The names of one file, each as components below the download folder. No two files of a torrent share one. */
export interface Names {
  /** The name if the file system can hold it and distinguishes it from the others. */
  readonly path: ReadonlyArray<string>
  /** The name on every other file system, if it differs from `path`. */
  readonly portable?: ReadonlyArray<string> | undefined
  /** The name in the torrent, if it differs from `path` and a file of this name may exist on this platform. */
  readonly original?: ReadonlyArray<string> | undefined
}

/** A path that cannot be made safe. `why` is a sentence a user can read. */
export class PathError extends Data.TaggedError("PathError")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** Bytes in a component, the limit of ext4, APFS and most others (NTFS counts 255 UTF-16 units, which is more room). */
export const maxComponentBytes = 255

/** Bytes in a whole path below the download folder: 4,096 of Linux' PATH_MAX, less 256 for that folder itself. */
export const maxPathBytes = 3_840

/** Components in a path. Honest torrents have about ten; libtorrent stops at 100 below the torrent's own folder. */
export const maxDepth = 101

/** Names tried for files whose own name is taken. Honest torrents need a handful; more is an attack on time. */
export const maxRenames = 4_096

/**
 * Files that may differ by nothing but what some file systems ignore; further ones are renamed everywhere. Each of them
 * is compared with the others on the disk.
 */
export const maxAlike = 64

/** Bytes in an extension that survives cutting, its dot included; a longer one is no extension. */
const maxExtensionBytes = 16

/** The text of bytes that should be UTF-8; each invalid part becomes `_`. */
export const fromBytes = (bytes: Uint8Array): string =>
  Bytes.toTextStrict(bytes) ?? Bytes.toText(bytes).replaceAll("\ufffd", "_")

// Separators, and marks without width: soft hyphen and grapheme joiner aside, which some scripts' files do carry.
const dropped =
  /[/\\\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu
// C0, DEL, C1 (a terminal may take them for commands), line and paragraph separators, lone surrogates.
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const replaced = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\p{Surrogate}]/gu
// A joiner works between two characters of a script that joins; elsewhere it only disguises a name.
const strayJoiner =
  /(?<![^\p{ASCII}\p{Script=Latin}\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\p{ASCII}\p{Script=Latin}\u200c\u200d])/gu
// Nearly every name has only these characters, which are never changed: saves the expressions above for a torrent of
// 100,000 files.
const plainAscii = /^[ -.0-[\]-~]*$/
const ignorable = /\p{Default_Ignorable_Code_Point}/gu
// A safe component that Windows' rules accept too, except for the few that begin like a device.
const plainOnWindows = /^(?!con|prn|aux|nul|clock|com|lpt)[^<>:"|?*]*[^<>:"|?*. ]$/i
const windowsReplaced = /[<>:"|?*]/g
const windowsTail = /(?<![. ])[. ]+$/ // Begins only where a run does, or a long run inside costs quadratic time.
// Up to the first dot, blanks before it ignored: the part in which Windows finds a device name, superscript digits
// included.
const windowsDevice = /^(?:con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|$)/i

/**
 * One component made safe, or `undefined` if nothing is left of it. A safe component is returned as it is.
 */
export const component = (text: string, platform: Platform = "posix"): string | undefined => {
  if (text === "") return "_"
  // Lone surrogates are replaced first: two of them must not become a character when a mark between them is dropped.
  let name = plainAscii.test(text) ? text : text.replace(replaced, "_").replace(dropped, "").replace(strayJoiner, "")
  if (platform === "windows") name = windowsName(name)
  name = shorten(name, "")
  // Cutting may have bared a blank, a dot or a device name again.
  if (platform === "windows") name = windowsName(name)
  if (ReservedName.is(name)) name = shorten(`_${name}`, "")
  return name === "" || name === "." || name === ".." ? undefined : name
}

const windowsName = (name: string): string => {
  const plain = name.replace(windowsReplaced, "_").replace(windowsTail, "")
  return windowsDevice.test(plain) ? `_${plain}` : plain
}

/** The index at which the extension of `name` begins; the end of `name` if it has none. */
const extensionStart = (name: string): number => {
  const dot = name.lastIndexOf(".")
  return dot > 0 && dot < name.length - 1 && byteLength(name.slice(dot)) <= maxExtensionBytes ? dot : name.length
}

/** `name` with `suffix` before its extension, the stem cut so that all fits into a component. */
const shorten = (name: string, suffix: string): string => {
  if (name.length * 3 + suffix.length <= maxComponentBytes && suffix === "") return name
  const dot = extensionStart(name)
  const stem = name.slice(0, dot)
  const tail = suffix + name.slice(dot)
  const room = maxComponentBytes - byteLength(tail)
  if (byteLength(stem) <= room) return stem + tail
  let cut = ""
  let bytes = 0
  for (const character of stem) {
    bytes += byteLength(character)
    if (bytes > room) break
    cut += character
  }
  return cut.replace(/[\u200c\u200d]+$/, "") + tail
}

const byteLength = (text: string): number => Bytes.fromText(text).length

/**
 * What file systems that ignore case and composition compare. Upper case of lower case, because that also joins `ß`
 * with `ss`, `ς` with `σ` and the Kelvin sign with `k`; invisible characters make no difference, as in ext4.
 */
export const fold = (text: string): string =>
  plainAscii.test(text) ? text.toUpperCase() : foldUnicode(text.toWellFormed())

const foldUnicode = (text: string): string =>
  text.replace(ignorable, "").normalize("NFC").toLowerCase().normalize("NFC").toUpperCase().normalize("NFC")

/** One path made safe by itself: at least one component. It may still be equal to another; see `sanitize`. */
export const path = (
  components: ReadonlyArray<string>,
  platform: Platform = "posix"
): Result.Result<ReadonlyArray<string>, PathError> => {
  if (components.length > maxDepth) {
    return Result.fail(
      new PathError({
        why: `a file's path has ${components.length} components, more than the ${maxDepth} that are allowed`
      })
    )
  }
  const safe: Array<string> = []
  for (let index = 0; index < components.length; index++) {
    // The first and the last stay, because callers rely on them: the torrent's own folder, and the file in it.
    const edge = index === 0 || index === components.length - 1
    const name = component(components[index]!, platform) ?? (edge ? "_" : undefined)
    if (name !== undefined) safe.push(name)
  }
  if (safe.length === 0) safe.push("_")
  const joined = safe.join("/")
  const bytes = joined.length * 3 <= maxPathBytes ? 0 : byteLength(joined)
  if (bytes > maxPathBytes) {
    return Result.fail(
      new PathError({
        why: `a file's path has ${bytes} bytes, more than the ${maxPathBytes} that are allowed: ${safe[0]!.slice(0, 60)}/...`
      })
    )
  }
  return Result.succeed(safe)
}

/**
 * The same text for names that some file system may confuse: Windows' name of a safe component, folded. Coarser than
 * any single file system.
 */
export const alike = (component: string): string => fold(windowsComponent(component))

/** In the place of a folder's number. */
const aFile = 0

/** The used names of each folder, as one kind of file system compares them. */
interface TakenNames {
  /** Uses the names of the folders that hold a file with these components; returns the number of the innermost one. */
  readonly folderOf: (components: ReadonlyArray<string>) => number
  readonly has: (folder: number, name: string) => boolean
  /** Uses a file's name, unless it is used. Returns whether it was free. */
  readonly take: (folder: number, name: string) => boolean
}

const makeTaken = (same: (name: string) => string): TakenNames => {
  // Each folder has a number, so that a deep path is not spelled out once a level, which takes three times longer for a
  // hostile torrent.
  const numbers = new Map<string, number>()
  // Most files share their folder with others, so each folder is looked up once.
  const known = new Map<string, number>()
  const keyOf = (folder: number, name: string) => `${folder}/${same(name)}`
  return {
    folderOf: (components) => {
      const given = components.slice(0, -1).join("/")
      const found = known.get(given)
      if (found !== undefined) return found
      let folder = 0
      for (let depth = 0; depth < components.length - 1; depth++) {
        const key = keyOf(folder, components[depth]!)
        folder = numbers.get(key) ?? numbers.size + 1
        numbers.set(key, folder)
      }
      known.set(given, folder)
      return folder
    },
    has: (folder, name) => numbers.has(keyOf(folder, name)),
    take: (folder, name) => {
      const key = keyOf(folder, name)
      if (numbers.has(key)) return false
      numbers.set(key, aFile)
      return true
    }
  }
}

/**
 * All paths of a torrent made safe and distinct, in their order. `paths` are components below the download folder, the
 * torrent's name first. Takes time in proportion to their length. Idempotent. With `platform: "windows"` each file has
 * only its portable name.
 */
export const sanitize = (
  paths: ReadonlyArray<ReadonlyArray<string>>,
  options?: { readonly platform?: Platform | undefined }
): Result.Result<ReadonlyArray<Names>, PathError> => {
  const safe: Array<ReadonlyArray<string>> = []
  const portable: Array<ReadonlyArray<string>> = []
  for (const components of paths) {
    const made = path(components)
    if (Result.isFailure(made)) return Result.fail(made.failure)
    const everywhere = portablePath(made.success)
    if (Result.isFailure(everywhere)) return Result.fail(everywhere.failure)
    safe.push(made.success)
    portable.push(everywhere.success)
  }
  const renamed = makeDistinct(safe, portable)
  if (Result.isFailure(renamed)) return Result.fail(renamed.failure)

  const isWindows = options?.platform === "windows"
  return Result.succeed(
    paths.map((given, index): Names => {
      if (isWindows) return { path: portable[index]! }
      const path = safe[index]!
      const isPortable = portable[index] === path || isEqual(portable[index]!, path)
      // The file next to a renamed one may be what the original name means.
      const isOriginal = renamed.success.has(index) || isEqual(given, path) || !isHoldable(given)
      if (isPortable && isOriginal) return { path }
      return { path, ...(isPortable ? {} : { portable: portable[index]! }), ...(isOriginal ? {} : { original: given }) }
    })
  )
}

/** A safe path by Windows' rules: the same array if nothing changes. */
const portablePath = (safe: ReadonlyArray<string>): Result.Result<ReadonlyArray<string>, PathError> => {
  if (safe.every((name) => plainOnWindows.test(name))) return Result.succeed(safe)
  return Result.map(path(safe, "windows"), (made) => (isEqual(made, safe) ? safe : made))
}

/**
 * Renames files until no two of `safe` are equal, and no two of `portable` are equal after folding. Returns the indices
 * of all that were renamed.
 */
const makeDistinct = (
  safe: Array<ReadonlyArray<string>>,
  portable: Array<ReadonlyArray<string>>
): Result.Result<ReadonlySet<number>, PathError> => {
  const lone = makeTaken(fold)
  const loneFolders = portable.map((components) => lone.folderOf(components))
  if (portable.every((components, index) => lone.take(loneFolders[index]!, components.at(-1)!))) {
    return Result.succeed(new Set())
  }

  // Folders and first-comers get their names before any file is renamed, so that no new name displaces a given one.
  const exact = makeTaken((name) => name)
  const folded = makeTaken(fold)
  const exactFolders = safe.map((components) => exact.folderOf(components))
  const foldedFolders = portable.map((components) => folded.folderOf(components))
  const duplicates = new Set<number>()
  for (const [index, components] of safe.entries()) {
    if (!exact.take(exactFolders[index]!, components.at(-1)!)) duplicates.add(index)
  }
  const clashing: Array<number> = []
  for (const isPortable of [true, false]) {
    for (const [index, components] of portable.entries()) {
      if (duplicates.has(index) || (components === safe[index]) !== isPortable) continue
      if (!folded.take(foldedFolders[index]!, components.at(-1)!)) clashing.push(index)
    }
  }

  const counters = new Map<string, number>()
  let tried = 0
  /** Renames a file with the first number that `take` accepts; returns `false` after too many attempts. */
  const assignNumber = (key: string, take: (count: number) => boolean): boolean => {
    for (;;) {
      if (++tried > maxRenames) return false
      const count = (counters.get(key) ?? 0) + 1
      counters.set(key, count)
      if (take(count)) return true
    }
  }
  const tooMany = (index: number) =>
    Result.fail(
      new PathError({ why: `more than ${maxRenames} files have the same path as another: ${safe[index]!.join("/")}` })
    )

  for (const index of duplicates) {
    const folder = exactFolders[index]!
    const foldedFolder = foldedFolders[index]!
    const name = safe[index]!.at(-1)!
    const took = assignNumber(`${foldedFolder}/${fold(portable[index]!.at(-1)!)}`, (count) => {
      const renamed = shorten(name, `.${count}`)
      const everywhere = windowsComponent(renamed)
      if (exact.has(folder, renamed) || folded.has(foldedFolder, everywhere)) return false
      exact.take(folder, renamed)
      folded.take(foldedFolder, everywhere)
      safe[index] = [...safe[index]!.slice(0, -1), renamed]
      portable[index] = [...portable[index]!.slice(0, -1), everywhere]
      return true
    })
    if (!took) return tooMany(index)
  }
  const alikeCounts = clashing.length > 0 ? countAlike(folded, portable, safe) : new Map<string, number>()
  for (const index of clashing) {
    const folder = foldedFolders[index]!
    const name = portable[index]!.at(-1)!
    const key = `${folder}/${fold(name)}`
    const took = assignNumber(key, (count) => {
      const renamed = shorten(name, `.${count}`)
      if (!folded.take(folder, renamed)) return false
      portable[index] = [...portable[index]!.slice(0, -1), renamed]
      return true
    })
    if (!took) return tooMany(index)
    const alikeCount = (alikeCounts.get(key) ?? 1) + 1
    alikeCounts.set(key, alikeCount)
    if (alikeCount > maxAlike) safe[index] = portable[index]!
  }

  return Result.succeed(new Set([...duplicates, ...clashing]))
}

/** How many different folders have each name after folding. */
const countAlike = (
  folded: TakenNames,
  portable: ReadonlyArray<ReadonlyArray<string>>,
  safe: ReadonlyArray<ReadonlyArray<string>>
): Map<string, number> => {
  const counts = new Map<string, number>()
  const seen = new Set<string>()
  for (const [index, components] of safe.entries()) {
    for (let depth = components.length - 1; depth > 0; depth--) {
      const folder = components.slice(0, depth).join("/")
      if (seen.has(folder)) break
      seen.add(folder)
      const everywhere = portable[index]!.slice(0, depth)
      const key = `${folded.folderOf(everywhere)}/${fold(everywhere.at(-1)!)}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
  }
  return counts
}

const isEqual = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((name, depth) => name === b[depth])

/** Windows' name of a safe component. */
const windowsComponent = (safe: string): string => component(safe, "windows") ?? "_"

/** Whether a file of exactly this path may exist below a folder, on POSIX. */
const isHoldable = (given: ReadonlyArray<string>): boolean =>
  given.length <= maxDepth &&
  byteLength(given.join("/")) <= maxPathBytes &&
  given.every(
    (name) =>
      !/^\.{0,2}$|[/\0]/.test(name) &&
      name.isWellFormed() &&
      byteLength(name) <= maxComponentBytes &&
      !ReservedName.is(name)
  )
