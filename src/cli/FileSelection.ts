/**
 * The files that `--select` or a magnet link selects. A glob matches whole paths below the torrent's name, with `/`
 * between components; for a single-file torrent it matches the name. `*` matches any text within a component, `?` one
 * character, and `**` as a whole component any number of components. All other characters match themselves, brackets
 * too, because they are common in names.
 */
import * as Effect from "effect/Effect"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import type { LayoutFile } from "../metainfo/FileLayout.ts"
import type { FileRange } from "../metainfo/Magnet.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import { CommandFailed } from "./CommandFailed.ts"

const patternOf = (component: string): string =>
  component
    .replace(/[$()+.[\\\]^{|}]/g, "\\$&")
    .replace(/\*+/g, "[^/]*")
    .replace(/\?/g, "[^/]")

/** Compiles a glob to a regular expression for a whole path. */
export const compile = (glob: string): RegExp => {
  const components = glob.split("/")
  const pattern = components
    .map((component, index) => {
      const isLast = index === components.length - 1
      if (component === "**") return isLast ? ".*" : "(?:[^/]*/)*"
      return isLast ? patternOf(component) : `${patternOf(component)}/`
    })
    .join("")
  return new RegExp(`^${pattern}$`, "su")
}

/** The path of a file that globs are matched with. */
export const pathOf = ({ path }: LayoutFile): string => (path.length === 1 ? path : path.slice(1)).join("/")

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
    const files = new Array<PiecePriority>(layout.files.length).fill("skip")
    for (const glob of globs) {
      const pattern = compile(glob)
      let isFound = false
      for (const [index, file] of layout.files.entries()) {
        if (file.padding || !pattern.test(pathOf(file))) continue
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
  const files = layout.files.map(
    (_, index): PiecePriority => (ranges.some(({ first, last }) => first <= index && index <= last) ? "normal" : "skip")
  )
  return files.includes("normal")
    ? Effect.succeed(files)
    : Effect.fail(new CommandFailed({ why: `the magnet link selects none of the files of ${name}` }))
}
