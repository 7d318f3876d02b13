/**
 * Options and operands that several commands have.
 */
import type * as Arguments from "./Arguments.ts"

/** `--json`. */
export const json: Arguments.Option = { name: "json", about: "write JSON to standard output" }

/** `--limit-down`. */
export const limitDown: Arguments.Option = {
  name: "limit-down",
  value: "RATE",
  about: "download no faster than this"
}

/** `--limit-up`. */
export const limitUp: Arguments.Option = { name: "limit-up", value: "RATE", about: "upload no faster than this" }

/** `--seed-ratio` and `--seed-time`. */
export const seedLimits: ReadonlyArray<Arguments.Option> = [
  { name: "seed-ratio", value: "RATIO", about: "stop after uploading this many times its size, such as 1.5" },
  { name: "seed-time", value: "TIME", about: "stop after this time, such as 30m, 2h or 7d" }
]

/** `--select`. */
export const select: Arguments.Option = {
  name: "select",
  value: "GLOB",
  repeats: true,
  about: "only files that match, such as '*.mkv' or 'extras/**'"
}

/** `--sequential`. */
export const sequential: Arguments.Option = {
  name: "sequential",
  about: "download pieces in order, to play the file meanwhile"
}
