/**
 * The list of a torrent's files, as a page or as JSON, in parts, because a torrent may have hundreds of thousands.
 *
 * Names come from a stranger. In a page they are text and nothing else; in links each component is encoded.
 */

import * as InfoHash from "../base/InfoHash.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as ContentType from "./ContentType.ts"

/** Files in one part. */
const filesPerPart = 256

/** A reference to a file, relative to the URL of the list, which ends with `/`. */
export const urlOf = (path: ReadonlyArray<string>): string =>
  `./${path.map((name) => encodeURIComponent(name.toWellFormed())).join("/")}`

/** The text as it stands in HTML, also within a quoted attribute. */
export const escapeHtml = (text: string): string =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;")

/** The parts of a text: `before`, then one entry for each file, separated, then `after`. */
function* parts(
  layout: FileLayout.FileLayout,
  text: { readonly before: string; readonly separator: string; readonly after: string },
  entry: (file: number, path: ReadonlyArray<string>) => string
): Generator<string> {
  const files = FileLayout.realFiles(layout)
  yield text.before
  for (let at = 0; at < files.length; at += filesPerPart) {
    const entries = files.slice(at, at + filesPerPart).map((file) => entry(file, FileLayout.pathOf(layout, file)))
    yield (at === 0 ? "" : text.separator) + entries.join(text.separator)
  }
  yield text.after
}

/** A page with a link to every file. */
export const html = ({ layout, name }: Metainfo): Iterable<string> => {
  const title = escapeHtml(name)
  const before = `<!doctype html>
<html>
<head>
<meta charset="utf-8">
<title>${title}</title>
<style>body { font-family: sans-serif } td + td { text-align: right; padding-left: 2em }</style>
</head>
<body>
<h1>${title}</h1>
<table>
`
  const after = `
</table>
</body>
</html>
`
  return parts(layout, { before, separator: "\n", after }, (file, path) => {
    const link = `<a href="${escapeHtml(urlOf(path))}">${escapeHtml(path.join("/"))}</a>`
    return `<tr><td>${link}</td><td>${FileLayout.lengthOf(layout, file)}</td></tr>`
  })
}

/** A file of the list in JSON. */
export interface ListedFile {
  /** The index in `metainfo.layout.files`. */
  readonly index: number
  readonly path: ReadonlyArray<string>
  /** Bytes. */
  readonly length: number
  readonly contentType: string
  /** Relative to the URL of the list, which ends with `/`. */
  readonly url: string
}

/** An object with the `name` and the `infoHash` (hex) of the torrent, and its `files`, each a `ListedFile`. */
export const json = ({ infoHash, layout, name }: Metainfo): Iterable<string> => {
  const head = JSON.stringify({ name, infoHash: InfoHash.toHex(infoHash) })
  const text = { before: `${head.slice(0, -1)},"files":[`, separator: ",", after: "]}\n" }
  return parts(layout, text, (index, path) => {
    const file: ListedFile = {
      index,
      path,
      length: FileLayout.lengthOf(layout, index),
      contentType: ContentType.of(path.at(-1)!),
      url: urlOf(path)
    }
    return JSON.stringify(file)
  })
}
