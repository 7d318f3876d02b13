/**
 * Finds docstrings in the sources: which export each documents, the examples in it, and what an example lacks. Also
 * finds the modules that the package exports. Pure: paths and texts in, facts and sentences about mistakes out.
 */
import * as path from "node:path"
import * as Documents from "./Documents.ts"

/** A comment that begins with two stars. */
export interface Docstring {
  readonly file: string
  /** The number of its first line, counted from 1. */
  readonly line: number
  /** Without the stars. It has as many lines as the comment. */
  readonly text: string
  /** The name of the export behind it; empty for the header of a file, `undefined` for all others. */
  readonly of: string | undefined
}

const exported = /^export (?:declare |abstract |async )*(?:const|let|class|interface|type|function\*?|namespace) (\w+)/

/** The docstrings of a file, in order. */
export const docstringsOf = (file: string, text: string): ReadonlyArray<Docstring> =>
  [...text.matchAll(/^[ \t]*\/\*\*(.*?)\*\/\n?/gms)].map((match) => {
    const before = text.slice(0, match.index)
    const isHeader = before.replace(/^#!.*\n/, "") === ""
    return {
      file,
      line: before.split("\n").length,
      text: match[1]!.replaceAll(/^[ \t]*\* ?/gm, ""),
      of: exported.exec(text.slice(match.index + match[0].length))?.[1] ?? (isHeader ? "" : undefined)
    }
  })

/** A program in a docstring. */
export interface Example extends Documents.Block {
  /** As in `Docstring`. */
  readonly of: string | undefined
}

/** The TypeScript programs in the docstrings of a file. */
export const examplesOf = (file: string, text: string): ReadonlyArray<Example> =>
  docstringsOf(file, text).flatMap((docstring) =>
    Documents.blocksOf(file, docstring.text)
      .filter(({ language }) => language === "ts")
      .map((block) => ({ ...block, line: docstring.line + block.line - 1, of: docstring.of }))
  )

/** What an example may import: the package, its peers, and Node. */
const importable = /^(?:piecewise|effect)(?:\/|$)|^node:|^fast-check$|^@effect\/platform-node$/

/** The most lines of an example besides blank ones and imports. */
export const maxLines = 17

/** An example is a whole module, is short, and asserts something. */
export const incomplete = ({ code, file, line }: Documents.Block): ReadonlyArray<Documents.Complaint> => {
  const at = `${file}:${line} has an example that`
  const imports = [...code.matchAll(/^(?:import|export|\}) .*"([^"]+)"$/gm)].map((match) => match[1]!)
  const lines = code.split("\n").filter((text) => text.trim() !== "" && !text.startsWith("import ")).length
  return [
    ...(imports.some((name) => name.startsWith("piecewise")) ? [] : [`${at} does not import piecewise`]),
    ...imports.filter((name) => !importable.test(name)).map((name) => `${at} imports ${name}`),
    ...(imports.includes("node:assert/strict") && /\bassert(?:\.\w+)?\(/.test(code) ? [] : [`${at} asserts nothing`]),
    ...(lines <= maxLines ? [] : [`${at} has ${lines} lines`])
  ]
}

/** The source of each entry point, by the name that `exports` of a `package.json` gives it: `.`, `./node`. */
export const entriesOf = (exports: Readonly<Record<string, unknown>>): ReadonlyMap<string, string> =>
  new Map(
    Object.entries(exports).flatMap(([entry, conditions]) => {
      const source = (conditions as { readonly "@piecewise/source"?: string })["@piecewise/source"]
      return source === undefined ? [] : [[entry, path.posix.normalize(source)]]
    })
  )

/** The modules that an entry point of the package exports as namespaces: their files by their names. */
export const modulesOf = (file: string, text: string): ReadonlyMap<string, string> =>
  new Map(
    [...text.matchAll(/^export \* as (\w+) from "(.+)"$/gm)].map((match) => [
      match[1]!,
      path.posix.join(path.posix.dirname(file), match[2]!)
    ])
  )

/** Every file has a header, and every export a docstring. A schema and the type of its values share one. */
export const undocumented = (file: string, text: string): ReadonlyArray<Documents.Complaint> => {
  const documented = new Set(docstringsOf(file, text).map((docstring) => docstring.of))
  const lines = text.split("\n")
  return [
    ...(text.replace(/^#!.*\n/, "").startsWith("/**") ? [] : [`${file}:1 has no header`]),
    ...lines.flatMap((line, index) => {
      const name = exported.exec(line)?.[1]
      return name === undefined || documented.has(name) ? [] : [`${file}:${index + 1} does not describe ${name}`]
    })
  ]
}
