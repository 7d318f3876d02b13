/**
 * Programs that stand in documents and docstrings, in a folder inside the checkout, so that they can import the package
 * by name.
 */
import { execFile } from "node:child_process"
import { mkdtemp, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { promisify } from "node:util"
import type { Block } from "./Documents.ts"

const run = promisify(execFile)

/** The folder of the project. */
export const root = path.resolve(import.meta.dirname, "..")

/** The folder of the commands that npm installed. */
export const bin = path.join(root, "node_modules", ".bin")

/** What the names of all folders of programs begin with, so that nothing takes them for a part of the project. */
export const prefix = "test/.documents-"

/** The name of a block's file says where the block is, and so do the compiler's errors. */
export const nameOf = ({ file, line }: Block, ending = ".ts"): string =>
  `${file.replaceAll(/\W/g, "-")}-${line}${ending}`

/** Writes each block to a file in a new folder, and returns the folder. */
export const write = async (
  blocks: ReadonlyArray<Block>,
  name: (block: Block) => string = (block) => nameOf(block)
): Promise<string> => {
  const folder = await mkdtemp(path.join(root, prefix))
  for (const block of blocks) await writeFile(path.join(folder, name(block)), block.code)
  return folder
}

/** Compiles the programs of a folder with the strict options of the project, and returns the errors. */
export const compile = async (folder: string): Promise<string> => {
  const config = { extends: path.join(root, "tsconfig.json"), include: ["*.ts"] }
  await writeFile(path.join(folder, "tsconfig.json"), JSON.stringify(config))
  const { stdout } = await run(path.join(bin, "tsc"), ["-p", folder, "--noEmit"]).catch(
    (error: { stdout: string }) => error
  )
  return stdout
}
