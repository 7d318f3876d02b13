/**
 * The words of a command line: what a command takes is a value, and reading `argv` against it gives what was asked, or
 * one sentence about what is wrong. Pure, and without Effect, so that `--help` and mistakes are answered at once.
 *
 * What a value means (an address, a size) is for the command to say.
 */
import * as Util from "node:util"

/** An option. Without `value` it is a switch. */
export interface Option {
  /** Without the dashes. */
  readonly name: string
  /** One letter. */
  readonly short?: string | undefined
  /** What stands for the value in the help: `DIR`. */
  readonly value?: string | undefined
  /** The only values there are. */
  readonly choices?: ReadonlyArray<string> | undefined
  /** May be given several times. */
  readonly repeats?: boolean | undefined
  readonly about: string
}

/** A command. */
export interface Command {
  readonly name: string
  readonly about: string
  /** What it takes besides options, all of it required, as the help names it. */
  readonly operands: ReadonlyArray<{ readonly name: string; readonly about: string }>
  readonly options: ReadonlyArray<Option>
  /** Lines below the options in the help. */
  readonly notes?: ReadonlyArray<string> | undefined
}

/** What was asked of a command. */
export interface Arguments {
  /** As many as the command has operands. */
  readonly operands: ReadonlyArray<string>
  /** Values by the option's name, in the order given; a switch has one empty value. */
  readonly values: ReadonlyMap<string, ReadonlyArray<string>>
}

/** The command line is wrong. `message` names the word and what is wrong with it. */
export class WrongUsage extends Error {
  readonly _tag = "WrongUsage"
  override readonly name = "WrongUsage"
}

/** The exit code of a wrong command line. */
export const wrongUsageCode = 2

/** What a user is told about a wrong command line; `command` is the one that was meant, if one was. */
export const complaint = (command: string | undefined, why: string): string =>
  `piecewise: ${why} (see piecewise ${command === undefined ? "" : `${command} `}--help)`

/** The option every command has. */
export const help: Option = { name: "help", short: "h", about: "show this help" }

/** Whether a switch was given. */
export const has = (self: Arguments, name: string): boolean => self.values.has(name)

/** The value of an option that was given. */
export const get = (self: Arguments, name: string): string | undefined => self.values.get(name)?.[0]

/** All values of an option. */
export const all = (self: Arguments, name: string): ReadonlyArray<string> => self.values.get(name) ?? []

/** Reads what follows the command's name. Throws `WrongUsage`. With `--help` among it nothing else is asked of it. */
export const read = (command: Command, words: ReadonlyArray<string>): Arguments => {
  const known = new Map([...command.options, help].map((option) => [option.name, option]))
  const { tokens } = Util.parseArgs({
    args: [...words],
    options: Object.fromEntries([...known.values()].map((option) => [option.name, describe(option)])),
    allowPositionals: true,
    strict: false,
    tokens: true
  })
  const operands: Array<string> = []
  const values = new Map<string, Array<string>>()
  const faults: Array<string> = []
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value)
    if (token.kind !== "option") continue
    const option = known.get(token.name)
    if (option === undefined) {
      faults.push(
        `${token.rawName} is no option of ${command.name}${suggestion(
          token.rawName,
          [...known.keys()].map((name) => `--${name}`)
        )}`
      )
      continue
    }
    const fault = faultOf(option, token, values)
    if (fault !== undefined) faults.push(fault)
    values.set(token.name, [...(values.get(token.name) ?? []), token.value ?? ""])
  }
  const missing = command.operands[operands.length]
  const extra = operands[command.operands.length]
  const empty = command.operands[operands.indexOf("")]
  if (empty !== undefined) faults.push(`${command.name} needs ${empty.name}, but it is empty`)
  if (missing !== undefined) faults.push(`${command.name} needs ${missing.name}: ${missing.about}`)
  if (extra !== undefined) faults.push(`${command.name} does not know what to do with ${extra}`)
  if (faults.length > 0 && !values.has(help.name)) throw new WrongUsage(faults[0])
  return { operands, values }
}

const describe = ({ short, value }: Option) => {
  const type = value === undefined ? ("boolean" as const) : ("string" as const)
  return short === undefined ? { type, multiple: true } : { type, multiple: true, short }
}

interface Given {
  readonly rawName: string
  readonly value: string | undefined
  readonly inlineValue: boolean | undefined
}

const faultOf = (option: Option, given: Given, before: ReadonlyMap<string, unknown>): string | undefined => {
  if (option.value === undefined && given.value !== undefined) return `${given.rawName} takes no value`
  if (option.value !== undefined) {
    if (given.value === undefined || given.value === "") return `${given.rawName} needs a value, ${option.value}`
    // The name of the next option was taken for the value; one that begins with a dash can be joined by `=`.
    if (given.inlineValue !== true && given.value.startsWith("-")) {
      return `${given.rawName} needs a value, ${option.value}, but ${given.value} follows it`
    }
    const { choices } = option
    if (choices?.includes(given.value) === false) {
      return `${given.rawName} ${given.value} is not known: it must be ${listed(choices)}`
    }
  }
  return option.repeats !== true && before.has(option.name) ? `${given.rawName} is given more than once` : undefined
}

/** `a, b or c`. */
const listed = (choices: ReadonlyArray<string>): string => `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`

/** The end of a sentence that asks whether a word was mistyped. */
export const suggestion = (word: string, candidates: Iterable<string>): string => {
  const near = [...candidates]
    .map((name) => ({ name, distance: distance(word, name) }))
    .filter((candidate) => candidate.distance <= 2 && candidate.distance < candidate.name.length)
    .sort((a, b) => a.distance - b.distance)[0]
  return near === undefined ? "" : `; did you mean ${near.name}?`
}

/** How many letters must be put in, taken out or changed (Levenshtein). */
const distance = (from: string, to: string): number => {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const change = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[to.length]!
}
