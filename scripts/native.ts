/**
 * Builds and tests the io-daemon.
 */
import * as path from "node:path"
import * as Command from "./command.ts"

const nativeHost = { cwd: path.join(Command.root, "native-host") }

/** Builds the program that the command line and other tests start. */
export const build = (): Promise<void> =>
  Command.show("cargo", ["build", "--release", "--workspace", "--locked", "--quiet"], nativeHost)

/** Runs the io-daemon's own tests. */
export const test = (): Promise<void> =>
  Command.show("cargo", ["test", "--workspace", "--locked", "--quiet"], nativeHost)

/** Checks its format and lint rules. */
export const check = async (): Promise<void> => {
  await Command.show("cargo", ["fmt", "--all", "--check"], nativeHost)
  const lint = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"]
  await Command.show("cargo", lint, nativeHost)
}
