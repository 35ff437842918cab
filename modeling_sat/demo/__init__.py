"""A page that shows what a checkpoint finds in a picture; needs the extra `demo` (Gradio)."""
