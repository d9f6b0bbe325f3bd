from node.cli import main

main(prog_name="plaza")
