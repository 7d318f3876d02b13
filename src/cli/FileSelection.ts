/**
 * Which files `--select`, or a magnet link, means. A glob stands for whole paths below the torrent's name, with `/`
 * between components; of a torrent that is one file, for its name. `*` is any text within a component, `?` one
 * character of it, and `**` as a component any number of components. Everything else stands for itself, brackets too,
 * which names are full of.
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

/** The glob as a regular expression for a whole path. */
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

/** A file's path as a glob sees it. */
export const pathOf = ({ path }: LayoutFile): string => (path.length === 1 ? path : path.slice(1)).join("/")

/**
 * The priority of each file of the torrent: `normal` where a glob means it, else `skip`; `undefined` without globs, where
 * all are wanted. Fails for a glob that means no file, which is a slip of the pen.
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
        const why = `--select ${glob} matches no file of ${name}; piecewise info shows what there is`
        return Effect.fail(new CommandFailed({ why }))
      }
    }
    return Effect.succeed(files)
  })

/**
 * The same for the files that a magnet link selects by their numbers (BEP 53). Fails where the torrent has none of
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
    : Effect.fail(new CommandFailed({ why: `the magnet link selects no file that ${name} has` }))
}
