/**
 * The error of a torrent at whose paths lie files that are not its own.
 */
import * as Schema from "effect/Schema"

/** The schema of a file at a path of the torrent. */
export const ExistingFile = Schema.Struct({
  /** Path components below the download folder, joined by `/`. */
  path: Schema.String,
  /** How many pieces have a byte in the file, and how many of those match their digest. */
  totalPieces: Schema.Natural,
  verifiedPieces: Schema.Natural,
  /** How many bytes longer it is than the torrent's file; 0 if it is not longer. */
  excessBytes: Schema.Natural,
  /** Whether it is something else than a regular file: a folder, a link, a pipe or a device. */
  isOther: Schema.Boolean
})

/** A file at a path of the torrent. */
export type ExistingFile = typeof ExistingFile.Type

/**
 * Files at the torrent's paths are not proved to be its own. They stay as they are, and nothing was written, unless the
 * torrent is added with `overwrite`.
 */
export class ContentExists extends Schema.TaggedError<ContentExists>()("piecewise/ContentExists", {
  /** At least one. */
  files: Schema.Array(ExistingFile).check(Schema.isMinLength(1))
}) {
  override get message() {
    const [first, ...others] = this.files
    const more =
      others.length === 0 ? "" : `, and ${others.length === 1 ? "another file" : `${others.length} other files`}`
    return `${first!.path} ${describe(first!)}${more}; it is left as it is`
  }
}

/** Describes what is wrong with a file, as the end of a sentence. */
const describe = ({ excessBytes, isOther, totalPieces, verifiedPieces }: ExistingFile): string => {
  if (isOther) return "is in the way and is not a regular file"
  const match = `${verifiedPieces} of ${totalPieces} ${totalPieces === 1 ? "piece matches" : "pieces match"}`
  return excessBytes > 0
    ? `is ${excessBytes} bytes longer than the torrent's file (${match})`
    : `exists already and is not the torrent's (${match})`
}
