/**
 * The identities (`FileFacts.identity`) of many files in 17 bytes each, because a torrent may have hundreds of
 * thousands.
 */
import * as Column from "../base/Column.ts"

/** Identities by the index of the file. Made by `make`, changed only here. */
export interface FileIdentities {
  /** Which of `beginnings` an identity has, from 1 on; 0 if there is none, and `odd` if it is in `others`. */
  readonly kinds: Column.Column
  /** The two numbers at the end of an identity, such as inode and time of birth. */
  readonly numbers: BigUint64Array
  /** What comes before the numbers: a device, as a rule the same for all files. */
  readonly beginnings: Array<string>
  /** Identities of another form. */
  others: Map<number, string> | undefined
}

const odd = 255

const largest = 2n ** 64n - 1n

/** Makes room for the identities of so many files. */
export const make = (fileCount: number): FileIdentities => ({
  kinds: Column.bytes(fileCount),
  numbers: new BigUint64Array(2 * fileCount),
  beginnings: [],
  others: undefined
})

/** The number that a text is; `undefined` if it is none, is too large, or would be written in another way. */
const numberIn = (text: string): bigint | undefined => {
  if (!/^(?:0|[1-9]\d{0,19})$/.test(text)) return undefined
  const number = BigInt(text)
  return number <= largest ? number : undefined
}

/** The number of a beginning from 1 on; 0 if there are too many. */
const kindOf = ({ beginnings }: FileIdentities, beginning: string): number => {
  const known = beginnings.indexOf(beginning)
  if (known >= 0) return known + 1
  return beginnings.length < odd - 1 ? beginnings.push(beginning) : 0
}

/** Sets the identity of a file. */
export const set = (self: FileIdentities, file: number, identity: string): void => {
  if (self.kinds[file] === odd) self.others?.delete(file)
  const second = identity.lastIndexOf(":")
  const first = second > 0 ? identity.lastIndexOf(":", second - 1) : -1
  const one = first < 0 ? undefined : numberIn(identity.slice(first + 1, second))
  const other = one === undefined ? undefined : numberIn(identity.slice(second + 1))
  const kind = other === undefined ? 0 : kindOf(self, identity.slice(0, first))
  if (one === undefined || other === undefined || kind === 0) {
    self.kinds[file] = odd
    self.others ??= new Map()
    self.others.set(file, identity)
    return
  }
  self.kinds[file] = kind
  self.numbers[2 * file] = one
  self.numbers[2 * file + 1] = other
}

/** The identity of a file; `undefined` if none was set. */
export const get = ({ beginnings, kinds, numbers, others }: FileIdentities, file: number): string | undefined => {
  const kind = kinds[file]!
  if (kind === 0) return undefined
  if (kind === odd) return others?.get(file)
  return `${beginnings[kind - 1]!}:${numbers[2 * file]!}:${numbers[2 * file + 1]!}`
}

/** Forgets the identity of a file. */
export const remove = (self: FileIdentities, file: number): void => {
  if (self.kinds[file] === odd) self.others?.delete(file)
  self.kinds[file] = 0
}
