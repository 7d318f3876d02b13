/**
 * Runs every check of the checkout: `npm test`, or some of them by name: `npm test -- unit package`.
 *
 * A failed step does not stop the later ones; the exit code is 1 if any failed. A step whose tools are missing on this
 * machine is skipped with one line. With `CI=true` it fails instead, so that every check runs somewhere. If a disk has
 * less room than the steps need, a line at the start says so, and with `CI=true` no step is run.
 */
import * as Command from "./command.ts"
import * as Disk from "./disk.ts"
import * as Native from "./native.ts"
import { checkPackage } from "./package.ts"
import * as Python from "./python.ts"

interface Step {
  readonly name: string
  readonly what: string
  /** Why the step cannot run on this machine; `undefined` if it can. */
  readonly missing?: () => Promise<string | undefined>
  /** The room on disks that it needs, as measured and rounded up. */
  readonly needs?: Disk.Needs
  readonly run: () => Promise<void>
}

/** Where Cargo builds. */
const target = "native-host/target"

const steps: ReadonlyArray<Step> = [
  {
    name: "check",
    what: "types, Effect's rules, lint and format",
    run: () => Command.show("npm", ["run", "--silent", "check"])
  },
  {
    name: "reference",
    what: "the API reference: every export is described, and no type is missing",
    run: () => Command.show("npm", ["run", "--silent", "reference"])
  },
  {
    // Before the unit tests, because they use the daemon that this step builds.
    name: "native",
    what: "the io-daemon",
    missing: async () => ((await Command.works("cargo", ["--version"])) ? undefined : "cargo is not installed"),
    needs: { adds: { to: target, mebibytes: 1_100 }, temporary: 300 },
    run: async () => {
      await Native.buildAll()
      await Native.test()
    }
  },
  {
    name: "native-check",
    what: "the io-daemon's lint and format",
    missing: async () => {
      for (const tool of ["clippy", "fmt"]) {
        if (!(await Command.works("cargo", [tool, "--version"]))) return `cargo ${tool} is not installed`
      }
      return undefined
    },
    needs: { adds: { to: target, mebibytes: 250 } },
    run: Native.check
  },
  { name: "unit", what: "vitest", needs: { temporary: 300 }, run: () => Command.show("vitest", ["run"]) },
  {
    name: "package",
    what: "the package that npm would publish",
    run: async () => console.log(await checkPackage())
  },
  {
    name: "interop",
    what: "against other clients",
    missing: async () => {
      const why = await Python.missing()
      if (why !== undefined) return why
      try {
        await Python.prepare()
        return undefined
      } catch (error) {
        if (!(error instanceof Command.CommandFailed)) throw error
        return `pip did not install the requirements (${lastLine(error)})`
      }
    },
    needs: { adds: { to: ".venv", mebibytes: 250 }, temporary: 500 },
    run: () => Python.test()
  }
]

const lastLine = (error: Command.CommandFailed): string => error.output.trim().split("\n").at(-1) || error.message

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !steps.some((step) => step.name === name))
if (unknown.length > 0) {
  console.error(`no step is named ${unknown.join(", ")}; the names are ${steps.map((step) => step.name).join(", ")}`)
  process.exit(2)
}

const { CI } = process.env
const everything = CI === "true"
const wanted = steps.filter((step) => chosen.length === 0 || chosen.includes(step.name))

const shortages = await Disk.shortages(wanted.flatMap(({ needs }) => needs ?? []))
for (const shortage of shortages) console.error(shortage)
if (everything && shortages.length > 0) process.exit(1)

const failed: Array<string> = []
const leftOut: Array<string> = []
const started = performance.now()

// The running tool receives Ctrl-C too. This script then ends instead of starting the next step.
let interrupted = false
process.on("SIGINT", () => {
  interrupted = true
})

for (const step of wanted) {
  console.log(`\n== ${step.name}: ${step.what}`)
  const begun = performance.now()
  try {
    const missing = await step.missing?.()
    if (missing === undefined) {
      await step.run()
      console.log(`== ${step.name} passed in ${seconds(begun)}`)
    } else if (everything) {
      failed.push(step.name)
      console.error(`== ${step.name} failed: ${missing}`)
    } else {
      leftOut.push(step.name)
      console.log(`== ${step.name} skipped: ${missing}`)
    }
  } catch (error) {
    if (!(error instanceof Command.CommandFailed)) throw error
    failed.push(step.name)
    if (error.output !== "") console.error(error.output.trimEnd())
    console.error(`== ${step.name} failed: ${error.message}`)
  }
  if (interrupted) process.exit(130)
}

const without = leftOut.length > 0 ? `, without ${leftOut.join(", ")}` : ""
console.log(
  `\n${failed.length === 0 ? "passed" : `failed: ${failed.join(", ")}`}${without}, ${seconds(started)} in all`
)
process.exitCode = failed.length === 0 ? 0 : 1
