/**
 * The files that `--select` or a magnet link selects. A glob matches whole paths below the torrent's name, with `/`
 * between components; for a single-file torrent it matches the name. `*` matches any text within a component, `?` one
 * character, and `**` as a whole component any number of components. All other characters match themselves, brackets
 * too, because they are common in names.
 */
import * as Effect from "effect/Effect"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { FileRange } from "../metainfo/Magnet.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** In a pattern, what matches any number of items. */
const star = Symbol()

type Pattern<A> = ReadonlyArray<A | typeof star>

/**
 * Whether a pattern matches all of `items`. When it does not go on, only the last star takes one item more: what an
 * earlier star would take then, the last one takes as well. So the time is at most the product of both lengths. A
 * regular expression would try every way to share the items among the stars.
 */
const matches = <A, B>(pattern: Pattern<A>, items: ReadonlyArray<B>, fits: (part: A, item: B) => boolean): boolean => {
  let at = 0
  let lastStar = -1
  let starEnd = 0
  for (let item = 0; item < items.length; ) {
    const part = pattern[at]
    if (part === star) {
      lastStar = at++
      starEnd = item
    } else if (part !== undefined && fits(part, items[item]!)) {
      at++
      item++
    } else {
      if (lastStar < 0) return false
      at = lastStar + 1
      item = ++starEnd
    }
  }
  while (pattern[at] === star) at++
  return at === pattern.length
}

/** The characters of a component; they are code points, so that `?` matches any one of them. */
type Characters = ReadonlyArray<string>

const fitsCharacter = (part: string, character: string): boolean => part === "?" || part === character

const fitsComponent = (part: Pattern<string>, component: Characters): boolean => matches(part, component, fitsCharacter)

const toPattern = (component: string): Pattern<string> =>
  Array.from(component, (character) => (character === "*" ? star : character))

/** Compiles a glob to a function that says whether it matches a whole path. */
export const compile = (glob: string): ((path: string) => boolean) => {
  const components = glob.split("/")
  const pattern = components.map((component) => (component === "**" ? star : toPattern(component)))
  // At the end there must be a component that it matches: `a/**` does not match `a`.
  if (components.at(-1) === "**") pattern.push([star])
  return (path) =>
    matches(
      pattern,
      path.split("/").map((component) => Array.from(component)),
      fitsComponent
    )
}

/** The path of a file that globs are matched with. */
export const pathOf = ({ path }: FileLayout.LayoutFile): string => (path.length === 1 ? path : path.slice(1)).join("/")

/**
 * The priority of each file: `normal` if a glob matches it, else `skip`. `undefined` without globs: all files are
 * wanted. Fails if a glob matches no file, because it is probably a typing error.
 */
export const ofGlobs = (
  { layout, name }: Metainfo,
  globs: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<PiecePriority> | undefined, CommandFailed> =>
  Effect.suspend(() => {
    if (globs.length === 0) return Effect.undefined
    const files = new Array<PiecePriority>(layout.fileCount).fill("skip")
    for (const glob of globs) {
      const isMatch = compile(glob)
      let isFound = false
      for (const [index, file] of layout.files.entries()) {
        if (file.padding || !isMatch(pathOf(file))) continue
        files[index] = "normal"
        isFound = true
      }
      if (!isFound) {
        const why = `--select ${glob} matches no file of ${name}; run piecewise info to see its files`
        return Effect.fail(new CommandFailed({ why }))
      }
    }
    return Effect.succeed(files)
  })

/**
 * The priorities for the files that a magnet link selects by their indices (BEP 53). Fails if the torrent has none of
 * them.
 */
export const ofRanges = (
  { layout, name }: Metainfo,
  ranges: ReadonlyArray<FileRange>
): Effect.Effect<ReadonlyArray<PiecePriority>, CommandFailed> => {
  // How many more ranges hold a file than hold the one before it. A link may have tens of thousands of ranges, so they
  // are not searched for each file.
  const changes = new Int32Array(layout.fileCount + 1)
  for (const { first, last } of ranges) {
    if (first >= layout.fileCount || last < first) continue
    changes[first]! += 1
    changes[Math.min(last + 1, layout.fileCount)]! -= 1
  }
  let holding = 0
  const files = Array.from(FileLayout.indices(layout), (index): PiecePriority => {
    holding += changes[index]!
    return holding > 0 ? "normal" : "skip"
  })
  return files.includes("normal")
    ? Effect.succeed(files)
    : Effect.fail(new CommandFailed({ why: `the magnet link selects none of the files of ${name}` }))
}
