"""What an export does with documents and tokens: choosing, ordering, packing, copying. Functions on arrays."""
