/**
 * Parses command lines. A value describes what a command accepts, and `read` checks `argv` against it. Pure, and
 * without Effect, so that `--help` and usage errors are answered at once.
 *
 * Each command interprets its own values, such as addresses and sizes.
 */
import * as Util from "node:util"

/** An option. Without `value` it is a switch. */
export interface Option {
  /** The long name without the dashes. */
  readonly name: string
  /** The one-letter name without the dash. */
  readonly short?: string | undefined
  /** The placeholder of its value in the help: `DIR`. */
  readonly value?: string | undefined
  /** The values that are allowed; any value if absent. */
  readonly choices?: ReadonlyArray<string> | undefined
  /** Whether it may be given several times. */
  readonly repeats?: boolean | undefined
  readonly about: string
}

/** An argument that is not an option, as the help names it. */
export interface Operand {
  readonly name: string
  /** Whether it may be left out. Operands behind it may be left out too. */
  readonly optional?: boolean | undefined
  /** Whether there may be several. Only the last operand may repeat. */
  readonly repeats?: boolean | undefined
  /** Whether it is no path, so that a shell completes it with no files. */
  readonly isNoPath?: boolean | undefined
  readonly about: string
}

export interface Command {
  readonly name: string
  readonly about: string
  readonly operands: ReadonlyArray<Operand>
  readonly options: ReadonlyArray<Option>
  /** Whether it runs until it is stopped, so that SIGTERM is a success: service managers end it that way. */
  readonly isService?: boolean | undefined
  /** Lines below the options in the help. */
  readonly notes?: ReadonlyArray<string> | undefined
}

/** The parsed arguments of a command. */
export interface Arguments {
  /** One for each operand of the command, but any number of one that is optional or repeats. */
  readonly operands: ReadonlyArray<string>
  /** Values by the option's name, in the order given. A switch has one empty value. */
  readonly values: ReadonlyMap<string, ReadonlyArray<string>>
}

/** The command line is wrong. `message` names the faulty word and says what is wrong with it. */
export class WrongUsage extends Error {
  readonly _tag = "WrongUsage"
  override readonly name = "WrongUsage"
}

/** The exit code for a wrong command line. */
export const wrongUsageCode = 2

/** The message for a wrong command line. `command` is the command that it names, if it is known. */
export const complaint = (command: string | undefined, why: string): string =>
  `piecewise: ${why} (see piecewise ${command === undefined ? "" : `${command} `}--help)`

/** The option that every command has. */
export const help: Option = { name: "help", short: "h", about: "show this help" }

/** Whether a switch was given. */
export const has = (self: Arguments, name: string): boolean => self.values.has(name)

/** The value of an option, if it was given. */
export const get = (self: Arguments, name: string): string | undefined => self.values.get(name)?.[0]

/** All values of an option, in the order given. */
export const all = (self: Arguments, name: string): ReadonlyArray<string> => self.values.get(name) ?? []

/** Parses the words after the command's name. Throws `WrongUsage`. With `--help` nothing else is checked. */
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
        `${token.rawName} is not an option of ${command.name}${suggestion(
          token.rawName,
          [...known.keys()].map((name) => `--${name}`)
        )}`
      )
      continue
    }
    const fault = faultOf(option, token, values)
    if (fault !== undefined) faults.push(fault)
    const given = values.get(token.name)
    if (given === undefined) values.set(token.name, [token.value ?? ""])
    else given.push(token.value ?? "")
  }
  const last = command.operands.at(-1)
  const missing = command.operands[operands.length]
  const extra = last?.repeats === true ? undefined : operands[command.operands.length]
  const at = operands.indexOf("")
  const empty = at < 0 ? undefined : (command.operands[at] ?? (last?.repeats === true ? last : undefined))
  if (empty !== undefined) faults.push(`${command.name} needs ${empty.name}, but it is an empty text`)
  if (missing !== undefined && missing.optional !== true)
    faults.push(`${command.name} needs ${missing.name}: ${missing.about}`)
  if (extra !== undefined) faults.push(`${command.name} does not accept another operand: ${extra}`)
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
    // Rejects an option's name where its value should be. A value that begins with a dash can be joined with `=`.
    if (given.inlineValue !== true && given.value.startsWith("-")) {
      return `${given.rawName} needs a value, ${option.value}, but is followed by ${given.value}`
    }
    const { choices } = option
    if (choices?.includes(given.value) === false) {
      return `${given.rawName} ${given.value} is not allowed: it must be ${listed(choices)}`
    }
  }
  return option.repeats !== true && before.has(option.name) ? `${given.rawName} is given more than once` : undefined
}

/** Lists choices: `a, b or c`. */
const listed = (choices: ReadonlyArray<string>): string => `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`

/** The end of a sentence that suggests a similar word; empty if there is none. */
export const suggestion = (word: string, candidates: Iterable<string>): string => {
  const near = [...candidates]
    .map((name) => ({ name, distance: distance(word, name) }))
    .filter((candidate) => candidate.distance <= 2 && candidate.distance < candidate.name.length)
    .sort((a, b) => a.distance - b.distance)[0]
  return near === undefined ? "" : `; did you mean ${near.name}?`
}

/** The Levenshtein distance: how many letters must be inserted, deleted or replaced. */
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
