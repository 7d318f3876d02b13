/**
 * Has V8 compile the functions of a bundle when it compiles the file. Node caches the compiled form of a file as it is
 * at that moment, without the functions that V8 puts off until their first call, and these were compiled anew at each
 * start of the program: a third of its CPU time until a download began. V8 puts off no function expression that stands
 * in parentheses.
 */
import { parseAst } from "rolldown/parseAst"

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

/** Whether a node of this type with a function in it is a method, whose function cannot stand in parentheses. */
const isMethod = ({ kind, method, type }: Node): boolean =>
  type === "MethodDefinition" || (type === "Property" && (method === true || kind !== "init"))

/** Puts every function expression of a module in parentheses, which does not change what it does. */
export const parenthesize = (code: string): string => {
  const marks: Array<{ readonly at: number; readonly mark: "(" | ")" }> = []
  const visit = (node: Node, parent: Node | undefined): void => {
    const isExpression = node.type === "FunctionExpression" || node.type === "ArrowFunctionExpression"
    if (isExpression && (parent === undefined || !isMethod(parent))) {
      marks.push({ at: node.start, mark: "(" }, { at: node.end, mark: ")" })
    }
    for (const child of Object.values(node).flat()) if (isNode(child)) visit(child, node)
  }
  visit(parseAst(code) as unknown as Node, undefined)
  marks.sort((left, right) => left.at - right.at)
  let done = 0
  let text = ""
  for (const { at, mark } of marks) {
    text += code.slice(done, at) + mark
    done = at
  }
  return text + code.slice(done)
}
