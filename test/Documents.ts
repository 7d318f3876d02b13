/**
 * Extracts from the project's Markdown what tests can check: links, anchors, blocks of code, and the faults and laws
 * that source and tests name by number. Pure: paths and texts in, sentences about mistakes out.
 */
import * as path from "node:path"

/** Texts by their path below the project's root, with forward slashes. */
export type Texts = ReadonlyMap<string, string>

/** One mistake, such as `README.md:12 ...`. */
export type Complaint = string

/** A fenced block of code. */
export interface Block {
  readonly file: string
  /** The number of its first line of code, counted from 1. */
  readonly line: number
  /** The word behind the fence: `ts`, `sh`, or empty. */
  readonly language: string
  readonly code: string
}

const lineOf = (text: string, index: number): number => text.slice(0, index).split("\n").length

/** The blocks of a document, in order. */
export const blocksOf = (file: string, text: string): ReadonlyArray<Block> =>
  [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map((match) => ({
    file,
    line: lineOf(text, match.index) + 1,
    language: match[1]!,
    code: match[2]!
  }))

/** A document without its code. All lines keep their numbers. */
const proseOf = (text: string): string =>
  text.replaceAll(/^```.*?^```$/gms, (block) => block.replaceAll(/[^\n]/g, "")).replaceAll(/`[^`\n]+`/g, "``")

/** The anchors of a document's headings, as GitHub computes them. */
export const anchorsOf = (text: string): ReadonlySet<string> => {
  const anchors = new Set<string>()
  const seen = new Map<string, number>()
  for (const [, heading] of text.replaceAll(/^```.*?^```$/gms, "").matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = heading!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
    const anchor = plain.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-")
    const times = seen.get(anchor) ?? 0
    seen.set(anchor, times + 1)
    anchors.add(times === 0 ? anchor : `${anchor}-${times}`)
  }
  return anchors
}

/** A link in a document to a file of the project. */
interface Link {
  readonly line: number
  readonly written: string
  /** The path below the project's root; the document itself for a bare anchor. */
  readonly target: string
  readonly anchor: string | undefined
}

const linksOf = (file: string, text: string): ReadonlyArray<Link> => {
  const prose = proseOf(text)
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap((match) => {
    const written = match[1]!
    if (/^(https?|mailto):/.test(written)) return []
    const [place = "", anchor] = written.split("#")
    const target = place === "" ? file : path.posix.join(path.posix.dirname(file), place)
    return [{ line: lineOf(prose, match.index), written, target, anchor }]
  })
}

/** The files of the project that a document links to, itself included for a bare anchor. */
export const targetsOf = (file: string, text: string): ReadonlySet<string> =>
  new Set(linksOf(file, text).map(({ target }) => target))

/** The modules in the first cells of tables whose last cell says how stable they are, in order. */
export const rated = (text: string): Array<string> =>
  [...text.matchAll(/^\|((?: `\w+`,?)+) \|.*\| (?:stable|experimental|deprecated) \|$/gm)].flatMap((match) =>
    [...match[1]!.matchAll(/\w+/g)].map(([name]) => name)
  )

/** Links lead to an existing file or folder of the project, and to an existing heading. */
export const links = (documents: Texts, exists: (path: string) => boolean): ReadonlyArray<Complaint> =>
  [...documents].flatMap(([file, text]) =>
    linksOf(file, text).flatMap(({ anchor, line, target, written }) => {
      const at = `${file}:${line} links to ${written}`
      if (path.posix.isAbsolute(target) || target.startsWith("..")) return [`${at}, which is outside of the project`]
      if (!exists(target)) return [`${at}, which does not exist`]
      if (anchor === undefined) return []
      const linked = documents.get(target)
      return linked !== undefined && anchorsOf(linked).has(anchor) ? [] : [`${at}, which has no such heading`]
    })
  )

/** Every document can be reached by links from the README. */
export const unreachable = (documents: Texts): ReadonlyArray<Complaint> => {
  const reached = new Set(["README.md"])
  for (const file of reached) {
    for (const { target } of linksOf(file, documents.get(file) ?? "")) {
      const below = [...documents.keys()].filter((other) => other === target || path.posix.dirname(other) === target)
      for (const other of below) reached.add(other)
    }
  }
  return [...documents.keys()]
    .filter((file) => !reached.has(file))
    .map((file) => `${file}:1 is not linked from any document`)
}

/** Paths in code style in a document exist: `src/assembly/Blame.ts`. */
export const paths = (documents: Texts, exists: (path: string) => boolean): ReadonlyArray<Complaint> =>
  [...documents].flatMap(([file, text]) =>
    [...text.matchAll(/`((?:src|test|docs|examples|scripts|native-host)\/[\w./-]*\w)`/g)]
      .filter((match) => !exists(match[1]!))
      .map((match) => `${file}:${lineOf(text, match.index)} names ${match[1]}, which does not exist`)
  )

/** Every document that a source names belongs to the project. */
export const mentions = (sources: Texts, documents: Texts): ReadonlyArray<Complaint> => {
  const known = new Set([...documents.keys()].map((file) => path.posix.basename(file)))
  return [...sources].flatMap(([file, text]) =>
    [...text.matchAll(/(?:^\s*(?:\*|\/\/|\/\*|#)).*?\b([\w-]+\.md)\b/gm)]
      .filter((match) => !known.has(match[1]!))
      .map((match) => `${file}:${lineOf(text, match.index)} names ${match[1]}, which is not a document of the project`)
  )
}

const numbersOf = (text: string, noun: "fault" | "law"): ReadonlyArray<readonly [number: number, line: number]> =>
  [...text.matchAll(new RegExp(`\\b${noun}s?[ _](\\d+)((?:(?:,| and|, and) \\d+)*)`, "g"))].flatMap((match) =>
    [match[1]!, ...(match[2]!.match(/\d+/g) ?? [])].map(
      (number) => [Number(number), lineOf(text, match.index)] as const
    )
  )

/** Every fault and law that is named by number has its own heading. */
export const numbers = (sources: Texts, documents: Texts): ReadonlyArray<Complaint> => {
  const headings = {
    fault: anchorsOf(documents.get("docs/faults.md")!),
    law: anchorsOf(documents.get("docs/architecture.md")!)
  }
  return [...sources, ...documents].flatMap(([file, text]) =>
    (["fault", "law"] as const).flatMap((noun) =>
      numbersOf(text, noun)
        .filter(([number]) => !headings[noun].has(`${noun}-${number}`))
        .map(([number, line]) => `${file}:${line} names ${noun} ${number}, which no document describes`)
    )
  )
}

/**
 * Each fault has a number of its own. Under it is a list of tests that carry its number, or a sentence that there are
 * none.
 */
export const heldFaults = (catalogue: string, tests: Texts): ReadonlyArray<Complaint> => {
  const sections = catalogue.split(/^(?=### Fault \d+$)/m).filter((section) => section.startsWith("### Fault "))
  const seen = new Set<number>()
  return sections.flatMap((section) => {
    const number = Number(/^### Fault (\d+)$/m.exec(section)![1])
    const at = `docs/faults.md: fault ${number}`
    if (seen.has(number)) return [`${at} is described twice`]
    seen.add(number)
    const named = linksOf("docs/faults.md", section).map(({ target }) => target)
    const holds = (file: string): boolean =>
      numbersOf(tests.get(file) ?? "", "fault").some(([found]) => found === number)
    if (/^Not tested: /m.test(section))
      return [...tests.keys()].filter(holds).map((file) => `${at} is tested by ${file}`)
    if (named.length === 0) return [`${at} names no test, and does not say that there is none`]
    return named.filter((file) => !holds(file)).map((file) => `${at} names ${file}, which does not carry its number`)
  })
}
