/**
 * Builds and tests the io-daemon.
 */
import * as path from "node:path"
import * as Command from "./command.ts"

const { CI } = process.env

const nativeHost: Command.Options = {
  cwd: path.join(Command.root, "native-host"),
  // What the compiler keeps for the next build of changed sources takes 360 MB. In CI there is no next build.
  env: CI === "true" ? { CARGO_INCREMENTAL: "0" } : {}
}

/** Builds the program that the command line and other tests start. */
export const build = (): Promise<void> =>
  Command.show("cargo", ["build", "--release", "--workspace", "--locked", "--quiet"], nativeHost)

/**
 * Builds the program and the io-daemon's own tests at the same time. They share nothing, and the last part of the
 * program's build uses one core only. Fails when both have ended.
 */
export const buildAll = async (): Promise<void> => {
  const tests = Command.show("cargo", ["test", "--workspace", "--locked", "--quiet", "--no-run"], nativeHost)
  const builds = await Promise.allSettled([build(), tests])
  for (const end of builds) if (end.status === "rejected") throw end.reason
}

/** Runs the io-daemon's own tests. */
export const test = (): Promise<void> =>
  Command.show("cargo", ["test", "--workspace", "--locked", "--quiet"], nativeHost)

/** Checks its format and lint rules. */
export const check = async (): Promise<void> => {
  await Command.show("cargo", ["fmt", "--all", "--check"], nativeHost)
  const lint = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"]
  await Command.show("cargo", lint, nativeHost)
}
