/**
 * Makes the file names of a torrent, which a stranger wrote, into names that are safe to create: always below the
 * download folder, never two of them the same file. Pure: the same torrent gives the same names on every machine, so
 * data can be moved and resumed. Touches no disk; links that already lie there are the storage's question.
 *
 * A component keeps every character that a file system can hold (`#`, `?`, `a:b`, blanks, any script), since other
 * clients keep them too. Changed are:
 *
 * - `/` and `\` inside a component: dropped. `.`, `..` and what is left empty: dropped too, or `_` where it is the first or the
 *   last component; a component that was empty from the start becomes `_`
 * - control characters, NUL, line separators and bytes that are not UTF-8: `_`
 * - marks that change the direction of text or take no room (`exe.txt` disguised): dropped. The two joiners that
 *   Persian, Indic scripts and emoji need are kept between characters that are not Latin
 * - a component over 255 bytes of UTF-8: its stem is cut, its extension kept
 * - the name of the folder that piecewise keeps for itself (`ReservedName.ts`): gets a `_` in front
 * - with `platform: "windows"` also: `< > : " | ? *` become `_`, dots and blanks at the end go, and device names
 *   (`CON`, `nul.txt`) get a `_` in front
 *
 * Files of the same path, also if only case or composition (NFC) differs, as many file systems see no difference there,
 * and files named like a folder of another one get `.1`, `.2`, ... before their extension. The first of them keeps its
 * name. Errors are for what no honest torrent does.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as ReservedName from "./ReservedName.ts"

/** Whose rules names must meet. `posix` serves Linux and macOS. */
export type Platform = "posix" | "windows"

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

/** Bytes in an extension that survives cutting, its dot included; what is longer is not an extension. */
const maxExtensionBytes = 16

/** The text of bytes that ought to be UTF-8; each part that is not becomes `_`. */
export const fromBytes = (bytes: Uint8Array): string =>
  Bytes.toTextStrict(bytes) ?? Bytes.toText(bytes).replaceAll("\ufffd", "_")

// Separators, and marks without width: soft hyphen and grapheme joiner aside, which some scripts' files do carry.
const dropped =
  /[/\\\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu
// C0, DEL, C1 (a terminal may take them for commands), line and paragraph separators, lone surrogates.
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const replaced = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\p{Surrogate}]/gu
// A joiner does its work between two characters of a script that joins; elsewhere it only disguises a name.
const strayJoiner =
  /(?<![^\p{ASCII}\p{Script=Latin}\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\p{ASCII}\p{Script=Latin}\u200c\u200d])/gu
// What nearly every name is made of, and nothing is done to: spares the expressions above a torrent of 100,000 files.
const plainAscii = /^[ -.0-[\]-~]*$/
const joiners = /[\u200c\u200d]/g
const windowsReplaced = /[<>:"|?*]/g
const windowsTail = /[. ]+$/
// Up to the first dot, blanks before it ignored: how Windows finds a device name, superscript digits included.
const windowsDevice = /^(?:con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|$)/i

/**
 * One component made safe, or `undefined` where nothing is left of it. A component that is safe already is returned as
 * it is.
 */
export const component = (text: string, platform: Platform = "posix"): string | undefined => {
  if (text === "") return "_"
  let name = plainAscii.test(text) ? text : text.replace(dropped, "").replace(replaced, "_").replace(strayJoiner, "")
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

/** Where the extension of `name` begins; the end of `name` where there is none. */
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
 * What file systems that ignore case and composition compare. Upper case of lower case, as that also joins `ß` with
 * `ss`, `ς` with `σ` and the Kelvin sign with `k`; the joiners, which cannot be seen, make no difference.
 */
export const fold = (text: string): string => (plainAscii.test(text) ? text.toUpperCase() : foldUnicode(text))

const foldUnicode = (text: string): string =>
  text.replace(joiners, "").normalize("NFC").toLowerCase().normalize("NFC").toUpperCase().normalize("NFC")

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
    // The first and the last stay as they are counted on: the torrent's own folder, and the file in it.
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

/** In the place of a folder's number. */
const aFile = 0

/**
 * All paths of a torrent made safe and distinct, in their order. `paths` are components below the download folder, the
 * torrent's name first. Takes time in proportion to their length. Idempotent.
 */
export const sanitize = (
  paths: ReadonlyArray<ReadonlyArray<string>>,
  options?: { readonly platform?: Platform | undefined }
): Result.Result<ReadonlyArray<ReadonlyArray<string>>, PathError> => {
  const platform = options?.platform ?? "posix"
  const safe: Array<ReadonlyArray<string>> = []
  for (const components of paths) {
    const made = path(components, platform)
    if (Result.isFailure(made)) return Result.fail(made.failure)
    safe.push(made.success)
  }

  // Folders and first-comers take their names before any file is renamed, so that no new name displaces a given one.
  // Each folder has a number, so that a deep path is not spelled out once a level, which takes a hostile torrent three times longer.
  const taken = new Map<string, number>()
  const keyIn = (folder: number, name: string) => `${folder}/${fold(name)}`
  // Most files share their folder with others, so each folder is folded once.
  const known = new Map<string, number>()
  const foldersOf = safe.map((components) => {
    const given = components.slice(0, -1).join("/")
    const found = known.get(given)
    if (found !== undefined) return found
    let folder = 0
    for (let depth = 0; depth < components.length - 1; depth++) {
      const key = keyIn(folder, components[depth]!)
      folder = taken.get(key) ?? taken.size + 1
      taken.set(key, folder)
    }
    known.set(given, folder)
    return folder
  })
  const keyOf = (index: number) => keyIn(foldersOf[index]!, safe[index]!.at(-1)!)
  const homeless: Array<number> = []
  for (let index = 0; index < safe.length; index++) {
    const key = keyOf(index)
    if (taken.has(key)) homeless.push(index)
    else taken.set(key, aFile)
  }

  const counters = new Map<string, number>()
  let tried = 0
  for (const index of homeless) {
    const components = safe[index]!
    const key = keyOf(index)
    const name = components[components.length - 1]!
    for (;;) {
      if (++tried > maxRenames) {
        return Result.fail(
          new PathError({ why: `more than ${maxRenames} files have the same path as another: ${components.join("/")}` })
        )
      }
      const count = (counters.get(key) ?? 0) + 1
      counters.set(key, count)
      const renamed = shorten(name, `.${count}`)
      const renamedKey = keyIn(foldersOf[index]!, renamed)
      if (taken.has(renamedKey)) continue
      taken.set(renamedKey, aFile)
      safe[index] = [...components.slice(0, -1), renamed]
      break
    }
  }
  return Result.succeed(safe)
}
