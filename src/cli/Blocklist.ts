/**
 * The option `--blocklist`: files of address ranges with whose peers nothing is exchanged. They are neither dialled nor
 * accepted, whoever names them.
 */
import * as FileSystem from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as IpRanges from "../base/IpRanges.ts"
import * as PeerPolicy from "../swarm/PeerPolicy.ts"
import * as Arguments from "./Arguments.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as TerminalText from "./TerminalText.ts"

/** What is wrong with a file, as a sentence that names it and the line. */
const whyNot = (path: string, { firstInvalid, ranges }: IpRanges.List): string | undefined => {
  if (firstInvalid !== undefined) {
    const { line, text } = firstInvalid
    return `${path}, line ${line}: ${JSON.stringify(TerminalText.clean(text))} is no range of addresses, such as 10.0.0.0/8`
  }
  return ranges.length === 0 ? `${path}: there is no range of addresses in it` : undefined
}

const readFile = Effect.fnUntraced(function* (path: string) {
  const bytes = yield* Effect.tryPromise({
    try: () => FileSystem.readFile(path),
    catch: (cause) => Failure.ofFile(path, cause)
  })
  // The magic number of gzip (RFC 1952 section 2.3.1), in which such lists are often offered.
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    return yield* new CommandFailed({ why: `${path}: it is compressed with gzip; unpack it first` })
  }
  const list = IpRanges.parseList(bytes.toString())
  const why = whyNot(path, list)
  if (why !== undefined) return yield* new CommandFailed({ why })
  return list.ranges
})

/**
 * Reads the files of `--blocklist`. Returns the policy that refuses their addresses, or `undefined` without the option.
 * Fails with `CommandFailed` if a file cannot be read, or if one of its lines is no range.
 */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const paths = Arguments.all(args, "blocklist")
  if (paths.length === 0) return undefined
  const lists = yield* Effect.forEach(paths, readFile)
  return PeerPolicy.subnets({ deny: lists.flat() })
})
