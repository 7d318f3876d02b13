/**
 * The `file tree` of a v2 torrent (BEP 52), read only to compare the two halves of a hybrid. Nothing is downloaded by
 * v2, so `pieces root` is checked only for its shape.
 */
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as Bencode from "../bencode/Bencode.ts"

/** A file of the tree. Its path has one character a byte, below the torrent's folder. */
export interface TreeFile {
  readonly path: ReadonlyArray<string>
  readonly length: number
}

/** Bytes in a SHA-256 digest. */
const rootLength = 32

/** Characters of a path that a sentence shows. */
const maxShownLength = 60

/** Whether BEP 52 allows this piece length: a power of two of at least 16 KiB. */
export const isPieceLength = (length: number): boolean => length >= 16_384 && (length & (length - 1)) === 0

/**
 * The files of a tree in its order, or a sentence that says what is wrong with it. Bencode's depth limit bounds the
 * recursion.
 */
export const flatten = (tree: Bencode.Value | undefined): Result.Result<ReadonlyArray<TreeFile>, string> => {
  if (!Bencode.isDictionary(tree)) return Result.fail("`file tree` is missing or not a dictionary")
  const files: Array<TreeFile> = []
  const visit = (folder: Bencode.Dictionary, path: ReadonlyArray<string>): string | undefined => {
    for (const [name, node] of folder) {
      if (name === "" || !Bencode.isDictionary(node)) return `${where(path, name)} is neither a file nor a folder`
      const leaf = node.get("")
      if (leaf === undefined) {
        const wrong = visit(node, [...path, name])
        if (wrong !== undefined) return wrong
        continue
      }
      if (node.size !== 1 || !Bencode.isDictionary(leaf)) return `${where(path, name)} is both a file and a folder`
      const length = lengthOf(leaf)
      if (typeof length === "string") return `${where(path, name)} ${length}`
      files.push({ path: [...path, name], length })
    }
    return undefined
  }
  const wrong = visit(tree, [])
  return wrong === undefined ? Result.succeed(files) : Result.fail(wrong)
}

/**
 * The beginning of a sentence about a node. Made only when needed: a hostile path is as long as the file.
 */
const where = (path: ReadonlyArray<string>, name: string): string => {
  const joined = [...path, name].map((part) => part.slice(0, maxShownLength)).join("/")
  const text = Bytes.toText(Bytes.fromLatin1Unsafe(joined))
  const shown = text.length > maxShownLength ? `${text.slice(0, maxShownLength)}...` : text
  return `\`file tree\` at ${JSON.stringify(shown)}`
}

const lengthOf = (leaf: Bencode.Dictionary): number | string => {
  const attributes = Bencode.getText(leaf, "attr") ?? ""
  // BEP 52 aligns files by itself, so the tree has no padding. A link has no bytes of its own (BEP 47).
  if (attributes.includes("p")) return "is padding"
  if (attributes.includes("l")) return 0
  const length = Bencode.getInt(leaf, "length")
  if (length === undefined || length < 0) return "has no valid `length`"
  if (length > 0 && Bencode.getBytes(leaf, "pieces root")?.length !== rootLength) {
    return `has no \`pieces root\` of ${rootLength} bytes`
  }
  return length
}
