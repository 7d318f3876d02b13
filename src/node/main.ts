#!/usr/bin/env node
/**
 * The `piecewise` program. Finds the command and loads only what it needs, because a person waits for it: help and
 * usage errors do not load Effect, and `info` does not load the engine.
 */
import * as Module from "node:module"
import type * as Effect from "effect/Effect"
import * as Version from "../base/Version.ts"
import * as Arguments from "../cli/Arguments.ts"
import * as Commands from "../cli/Commands.ts"
import type * as Output from "../cli/Output.ts"
import * as ProcessOutput from "../cli/ProcessOutput.ts"
import type * as Run from "../cli/Run.ts"

interface Program {
  readonly run: (args: Arguments.Arguments, output: Output.Output) => Effect.Effect<void, Run.Failure>
}

const programs: Readonly<Record<string, () => Promise<Program>>> = {
  download: () => import("../cli/Download.ts"),
  seed: () => import("../cli/Seed.ts"),
  create: () => import("../cli/Create.ts"),
  info: () => import("../cli/Info.ts"),
  scrape: () => import("../cli/Scrape.ts"),
  doctor: () => import("../cli/Doctor.ts"),
  verify: () => import("../cli/Verify.ts"),
  serve: () => import("../cli/service/Serve.ts"),
  password: () => import("../cli/service/Password.ts"),
  add: () => import("../cli/service/Add.ts"),
  list: () => import("../cli/service/List.ts"),
  show: () => import("../cli/service/Show.ts"),
  watch: () => import("../cli/service/Watch.ts"),
  pause: () => import("../cli/service/Pause.ts"),
  resume: () => import("../cli/service/Resume.ts"),
  recheck: () => import("../cli/service/Recheck.ts"),
  remove: () => import("../cli/service/Remove.ts"),
  move: () => import("../cli/service/Move.ts"),
  label: () => import("../cli/service/Label.ts"),
  link: () => import("../cli/service/Link.ts"),
  limits: () => import("../cli/service/Limits.ts"),
  import: () => import("../cli/service/Import.ts"),
  backup: () => import("../cli/service/Backup.ts"),
  restore: () => import("../cli/service/Restore.ts")
}

// Caches the compiled sources from one start to the next.
Module.enableCompileCache?.()

const output = ProcessOutput.make()

const refuse = (command: string | undefined, why: string): void => {
  output.note(Arguments.complaint(command, why))
  process.exitCode = Arguments.wrongUsageCode
}

const runCommand = async (command: Arguments.Command, args: Arguments.Arguments): Promise<void> => {
  if (command.name === "completions") {
    const shell = args.operands[0]!
    const Completions = await import("../cli/Completions.ts")
    const script = Completions.of(shell)
    if (script !== undefined) return output.print([script.trimEnd()])
    return refuse(command.name, `${shell} is not a supported shell; use one of ${Commands.shells.join(", ")}`)
  }
  const [{ run }, program] = await Promise.all([import("../cli/Run.ts"), programs[command.name]!()])
  run(program.run(args, output), command, output)
}

const main = async (words: ReadonlyArray<string>): Promise<void> => {
  const [first, ...rest] = words
  if (first === undefined) return refuse(undefined, "a command is missing")
  if (first === "--version" || first === "-V") return output.print([`piecewise ${Version.version}`])
  const asksHelp = first === "--help" || first === "-h" || first === "help"
  const word = asksHelp ? rest[0] : first
  if (word === undefined) return output.print([Commands.help().trimEnd()])
  const command = Commands.all.find(({ name }) => name === word)
  if (command === undefined) {
    const what = word.startsWith("-") ? "not an option" : "not a command"
    const near = Arguments.suggestion(word, [...Commands.all.map(({ name }) => name), "--help", "--version"])
    return refuse(undefined, `${word} is ${what} of piecewise${near}`)
  }
  if (asksHelp) return output.print([Commands.helpOf(command).trimEnd()])
  let args: Arguments.Arguments
  try {
    args = Arguments.read(command, rest)
  } catch (error) {
    if (!(error instanceof Arguments.WrongUsage)) throw error
    return refuse(command.name, error.message)
  }
  if (Arguments.has(args, "help")) return output.print([Commands.helpOf(command).trimEnd()])
  await runCommand(command, args)
}

await main(process.argv.slice(2))
